"""Results of the admin client's calls, an item each: those that failed are said on stderr."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

from ottla.protocol.errors import OttlaError
from ottla_cli.failures import EXIT_OK, from_platform
from ottla_cli.terminal import say


class _Outcome(Protocol):
    @property
    def error(self) -> OttlaError | None: ...


_Item = TypeVar("_Item", bound=_Outcome)


def sorted_out(
    results: Sequence[_Item], *, named: Callable[[_Item], str]
) -> tuple[list[_Item], int]:
    """Those that succeeded, and the exit code: the worst of the others."""
    succeeded, code = [], EXIT_OK
    for each in results:
        if each.error is None:
            succeeded.append(each)
        else:
            code = max(code, say_failed(named(each), each.error))
    return succeeded, code


def say_failed(name: str, error: OttlaError) -> int:
    """Say why something could not be done; returns the exit code."""
    failure = from_platform(error)
    say(f"ottla: {name}: {failure}", style="bold red")
    if failure.hint:
        say(f"       {failure.hint}")
    return failure.code
