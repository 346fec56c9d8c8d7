"""The tasks a client runs beside its user: started together, ended together.

Owns one TaskGroup whose tasks never fail it: a group would cancel the task that opened the client,
which is the application's. A defect in one of them is logged and told to the client instead.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable, Coroutine

_log = logging.getLogger(__name__)


class BackgroundTasks:
    """Opened and closed by its client; used from the tasks of one event loop."""

    def __init__(
        self,
        *,
        on_defect: Callable[[Exception], None],
        on_cancelled: Callable[[], None] = lambda: None,
    ) -> None:
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        self._on_defect = on_defect
        self._on_cancelled = on_cancelled
        self._is_closing = False

    async def open(self) -> None:
        """Begin; tasks may start from here on."""
        await self._group.__aenter__()

    def start(self, work: Coroutine[object, object, None], *, name: str) -> None:
        """Run `work` until it ends or the client closes."""
        task = self._group.create_task(self._root(work, name), name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        # A task that is cancelled before its first turn never comes to its work.
        task.add_done_callback(lambda _: work.close())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if task.cancelled() and not self._is_closing:
            self._on_cancelled()  # the event loop ends, and the client was not closed

    async def close(self) -> None:
        """Cancel what runs and wait until it has ended."""
        self._is_closing = True
        for task in self._tasks:
            task.cancel()
        await self._group.__aexit__(None, None, None)

    async def _root(self, work: Coroutine[object, object, None], name: str) -> None:
        try:
            await work
        except asyncio.CancelledError as end:
            # What the frames it passed hold, gRPC's calls above all, ends here, and not when the
            # garbage collector comes round.
            traceback.clear_frames(end.__traceback__)
            raise
        except Exception as error:  # noqa: BLE001 - the root: a defect reaches the client alone
            _log.exception("the client's task %s failed unexpectedly", name)
            self._on_defect(error)
