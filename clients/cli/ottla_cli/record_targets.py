"""Which records a command line means: partitions, and the offset before which. Pure, and light."""

from __future__ import annotations

from typing import Final, NamedTuple

from ottla_cli.failures import UsageFailed

_END: Final = "end"
_HIGH_WATERMARK: Final = -1
_OFFSET_MAX: Final = 2**63 - 1
_PARTITION_DIGITS_MAX: Final = 9
_OFFSET_DIGITS_MAX: Final = 19


class Target(NamedTuple):
    """A topic, or one partition of it."""

    topic: str
    partition: int | None

    def __str__(self) -> str:
        return self.topic if self.partition is None else f"{self.topic}:{self.partition}"


def parse_target(text: str) -> Target:
    """`NAME` or `NAME:PARTITION`. Raises UsageFailed."""
    topic, colon, number = text.partition(":")
    if not colon:
        return Target(topic, None)
    if not (number.isascii() and number.isdecimal() and len(number) <= _PARTITION_DIGITS_MAX):
        raise UsageFailed(f"{text!r}: write NAME or NAME:PARTITION, as flights:3")
    return Target(topic, int(number))


def parse_before(text: str) -> int:
    """The offset of `--before`: a number or `end`. Raises UsageFailed."""
    if text == _END:
        return _HIGH_WATERMARK
    is_number = text.isascii() and text.isdecimal() and len(text) <= _OFFSET_DIGITS_MAX
    if not is_number or int(text) > _OFFSET_MAX:
        raise UsageFailed(f"--before {text!r}: write the first offset to keep, or {_END}")
    return int(text)
