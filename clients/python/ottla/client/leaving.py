"""Producers that are open when the interpreter ends: what they hold is lost, and that is said.

Owns who is open, the line in the log, and who may still do something about it before: an event loop
has ended by then, so that its clients send nothing any more, but the blocking clients have a thread
of their own, which is still there.
"""

from __future__ import annotations

import atexit
import logging
from collections.abc import Callable
from typing import Final

_log = logging.getLogger(__name__)

_open: Final[dict[object, Callable[[], int]]] = {}
_flushers: Final[list[Callable[[], None]]] = []


def opened(producer: object, held_count: Callable[[], int]) -> None:
    """A producer holds records from here on; `held_count` tells how many."""
    _open[producer] = held_count


def closed(producer: object) -> None:
    """It holds none any more, or has told of them itself."""
    _open.pop(producer, None)


def flush_first(flusher: Callable[[], None]) -> None:
    """Have something called at the interpreter's end, before losses are told.

    Threads that are no daemons have ended by then: they may send to the last.
    """
    _flushers.append(flusher)


def forget_all() -> None:
    """In a child process: the parent's are not ours to tell of."""
    _open.clear()


def tell_losses() -> None:
    """The interpreter ends."""
    for flush in _flushers:
        flush()
    for held_count in _open.values():
        lost_count = held_count()
        if lost_count:
            _log.warning(
                "a producer was not closed before the interpreter ended: %d records are lost, or "
                "were not acknowledged",
                lost_count,
            )
    _open.clear()


atexit.register(tell_losses)
