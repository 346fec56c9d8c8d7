"""How every command runs: its work inside an event loop, its failures as exit codes.

Owns turning errors into one line on stderr and a code. No traceback reaches a user for anything the
platform, the network or the command line can do wrong.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import typer

from ottla_cli.failures import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_OK,
    CommandFailed,
    from_platform,
)
from ottla_cli.terminal import flush_stdout, say, silence_stdout


def run(
    work: Callable[[], Coroutine[Any, Any, int | None]],
    *,
    interrupted: int = EXIT_INTERRUPTED,
    loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None,
) -> None:
    """Run a command's coroutine and leave with its exit code.

    Args:
        work: makes the coroutine; it may return an exit code.
        interrupted: the exit code after Ctrl-C, 0 where that is the usual way to end.
        loop_factory: makes the event loop, where the usual one won't do.
    """

    def run_all() -> int | None:
        with asyncio.Runner(loop_factory=loop_factory) as runner:
            return runner.run(work())

    run_plain(run_all, interrupted=interrupted)


def run_plain(work: Callable[[], int | None], *, interrupted: int = EXIT_INTERRUPTED) -> None:
    """Run a command's function and leave with its exit code."""
    code = guarded(work, interrupted=interrupted)
    if code != EXIT_OK:
        raise typer.Exit(code)


def guarded(work: Callable[[], int | None], *, interrupted: int = EXIT_INTERRUPTED) -> int:
    """The exit code of `work`, whose output is written when this returns.

    Failures, also to write, are said on stderr.
    """
    try:
        code = work()
        flush_stdout()
    except BrokenPipeError:
        # `| head` has read all it wants.
        silence_stdout()
        return EXIT_OK
    except KeyboardInterrupt:
        return _flushed(interrupted)
    except CommandFailed as error:
        return _flushed(_report(error))
    except BaseExceptionGroup as group:
        if group.subgroup(BrokenPipeError) is not None:
            silence_stdout()
            return EXIT_OK
        return _flushed(_report(first_failure(group)))
    except Exception as error:  # noqa: BLE001 - the root of a command: known errors become lines
        return _report(_unwritten() or first_failure(error))
    return code or EXIT_OK


def _flushed(code: int) -> int:
    unwritten = _unwritten()
    return code if unwritten is None else code or _report(unwritten)


def _unwritten() -> CommandFailed | None:
    """Why what was to be printed cannot be, if that is so."""
    try:
        flush_stdout()
    except BrokenPipeError:
        silence_stdout()
    except CommandFailed as error:
        return error
    return None


def _report(error: CommandFailed) -> int:
    say(f"ottla: {error}", style="bold red")
    if error.hint:
        say(f"       {error.hint}")
    return error.code


def first_failure(error: BaseException) -> CommandFailed:
    """What a person is told of `error`, or of the first in a group.

    Raises:
        BaseException: `error` again, if it is a fault of ours.
    """
    first = error
    while isinstance(first, BaseExceptionGroup):
        first = first.exceptions[0]
    if not isinstance(first, Exception):
        raise error
    return _known(first)


def _known(error: Exception) -> CommandFailed:
    """What a person is told of `error`; raises it again if it is a fault of ours."""
    if isinstance(error, CommandFailed):
        return error
    from ottla.protocol.errors import OttlaError  # noqa: PLC0415 - errors are the rare case

    if isinstance(error, OttlaError):
        return from_platform(error)
    if isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else ""
        return CommandFailed(f"{where}{error.strerror or error}", code=EXIT_FAILED)
    raise error
