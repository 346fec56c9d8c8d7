"""Blocking work beside the event loop that uses open files."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Iterable
from typing import TypeVar

from ottla_broker.storage.ports import Offload
from ottla_broker.storage.segment_file import SegmentFile

Result = TypeVar("Result")


async def beside(
    offload: Offload, work: Callable[[], Result], *, files: Iterable[SegmentFile] = ()
) -> Result:
    """Run `work` and return its outcome; `files` are held until it has really ended.

    Cancelling stops the wait, not the work: a descriptor that a thread still uses must not be
    closed, or its number would soon mean another file.
    """
    held = list(files)
    for file in held:
        file.acquire()
    future = offload.run(work)

    def ended(done: asyncio.Future[Result]) -> None:
        for file in held:
            file.release()
        if not done.cancelled():
            done.exception()  # whoever waited has it too; nobody waiting is no error

    future.add_done_callback(ended)
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        if future.cancelled():  # not this wait was given up, but the work: its threads are gone
            raise OSError(errno.ECANCELED, "blocking work was given up") from None
        raise
