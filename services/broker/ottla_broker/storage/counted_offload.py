"""Blocking work on some files, counted: whoever moves the files away waits for it first.

Cancelling stops a wait, not the work, so that what nobody waits for any more counts too. Owns no
files and no threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from ottla_broker.storage.ports import Offload

Result = TypeVar("Result")


class CountedOffload:
    """An `Offload` that knows what of its work has not ended. Belongs to one owner, on its loop."""

    def __init__(self, offload: Offload) -> None:
        self._offload = offload
        self._pending: set[asyncio.Future[Any]] = set()

    @property
    def is_idle(self) -> bool:
        """Whether all work that was begun has ended."""
        return not self._pending

    def run(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        """Start `work`; the future is done with its outcome."""
        future = self._offload.run(work)
        self._pending.add(future)
        future.add_done_callback(self._pending.discard)
        return future

    async def ended(self) -> None:
        """Returns once all work begun before the call has ended, well or not."""
        if self._pending:
            await asyncio.wait(set(self._pending))
