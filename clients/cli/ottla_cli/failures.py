"""How a command fails: exit codes, and what an error of the platform says to a person.

Owns `CommandFailed`, the codes (0 ok, 1 failed, 2 usage, 3 not found, 4 unavailable) and the hint
that goes with an error. Light: imports nothing of gRPC.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ottla.protocol.errors import OttlaError

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2
EXIT_NOT_FOUND: Final = 3
EXIT_UNAVAILABLE: Final = 4
EXIT_INTERRUPTED: Final = 130

_NOT_FOUND: Final = {"UNKNOWN_TOPIC_OR_PARTITION", "UNKNOWN_GROUP"}
_HINTS: Final = {
    "UNKNOWN_TOPIC_OR_PARTITION": "`ottla topics list` shows what there is",
    "TOPIC_EXISTS": "`ottla topics describe` shows how it differs",
    "RECORD_TOO_LARGE": "records and requests are limited to max.message.bytes, 1 MiB by default",
    "NOT_ENOUGH_REPLICAS": "`ottla cluster describe` shows which brokers are missing",
    "BUFFER_FULL": "the cluster takes records more slowly than they come, or not at all;"
    " `ottla cluster describe` shows its state",
    "STORAGE_FULL": "free space on the broker's disk, or shorten retention.ms",
}


class CommandFailed(Exception):  # noqa: N818 - what happened, not what kind of object it is
    """A command cannot do what it was asked; `str` is one line for people."""

    def __init__(self, message: str, *, code: int = EXIT_FAILED, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint


class UsageFailed(CommandFailed):
    """A command was called wrongly."""

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message, code=EXIT_USAGE, hint=hint)


def from_platform(error: OttlaError) -> CommandFailed:
    """What a command says and returns when the platform answers with `error`."""
    return CommandFailed(error.message, code=exit_code(error), hint=_hint(error))


def exit_code(error: OttlaError) -> int:
    """The exit code for an error of the platform."""
    if error.reason in _NOT_FOUND:
        return EXIT_NOT_FOUND
    if error.reason == "INVALID_TOPIC":
        return EXIT_USAGE
    if error.status.name in {"UNAVAILABLE", "DEADLINE_EXCEEDED"} or error.reason == "BUFFER_FULL":
        return EXIT_UNAVAILABLE
    return EXIT_FAILED


def _hint(error: OttlaError) -> str:
    if type(error).__name__ == "Unreachable":
        return (
            "`ottla up` starts a platform; --bootstrap, OTTLA_BOOTSTRAP or `ottla context` says"
            " where one is, and --tls whether it is encrypted (`ottla context show`)"
        )
    if error.reason == "OFFSET_OUT_OF_RANGE" and "earliest_offset" in error.metadata:
        earliest, latest = error.metadata["earliest_offset"], error.metadata["latest_offset"]
        return f"the partition holds offsets {earliest} up to, not including, {latest}"
    return _HINTS.get(error.reason, "")
