"""Group commit: one round of flushes of a log directory serves every append that waits.

    dirty logs ──► round: a job each, split over N threads ──► each job's log told as it is done
         ▲                                                          │
         └── appends that come meanwhile wait for the next round ◄──┘

The window that collects appends is the round before: under load it grows by itself, without load
an append is flushed at once. Owns the rounds; what a job does is the log's. A failed flush fails
the directory, because nobody knows any more which bytes are on the disk.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable
from typing import Final

from ottla_broker.storage.counted_offload import CountedOffload
from ottla_broker.storage.filesystem import is_exhausted
from ottla_broker.storage.flush_job import LogFlushJob
from ottla_broker.storage.ports import Flushable, Offload

PARALLEL_MAX: Final = 8


class GroupCommit:
    """Flushes the logs of one directory; `run` is the one task that does."""

    def __init__(
        self,
        *,
        offload: Offload,
        on_failure: Callable[[OSError], None],
        parallel_max: int = PARALLEL_MAX,
    ) -> None:
        self._offload = CountedOffload(offload)
        self._on_failure = on_failure
        self._parallel_max = parallel_max
        self._dirty: dict[int, Flushable] = {}
        self._wake = asyncio.Event()
        self._has_failed = False

    def request(self, log: Flushable) -> None:
        """Flush the log in the next round."""
        self._dirty[id(log)] = log
        self._wake.set()

    async def run(self) -> None:
        """Flush until cancelled, or until a flush fails."""
        while not self._has_failed:
            await self._wake.wait()
            self._wake.clear()
            await self._round()

    async def quiet(self) -> None:
        """Returns once the flushes under way have ended, whoever waits for them."""
        await self._offload.ended()

    async def _round(self) -> None:
        logs, self._dirty = list(self._dirty.values()), {}
        jobs = [(log, job) for log in logs if (job := log.begin_flush()) is not None]
        share = -(-len(jobs) // self._parallel_max)
        pending = {
            self._start(jobs[first : first + share]): jobs[first : first + share]
            for first in range(0, len(jobs), share or 1)
        }
        # All of a round end before the next begins: no flush result overtakes an earlier one.
        while pending:
            done, _ = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                self._ended(future, pending.pop(future))

    def _start(self, jobs: list[tuple[Flushable, LogFlushJob]]) -> asyncio.Future[None]:
        """One thread does some of the jobs; their files are held until it has, whoever waits."""

        def work() -> None:
            for _, job in jobs:
                job.run()

        def release(done: asyncio.Future[None]) -> None:
            for _, job in jobs:
                job.release()
            if not done.cancelled():
                done.exception()  # read here too, in case the round was cancelled

        future = self._offload.run(work)
        future.add_done_callback(release)
        return future

    def _ended(
        self, future: asyncio.Future[None], jobs: list[tuple[Flushable, LogFlushJob]]
    ) -> None:
        try:
            if future.cancelled():  # its threads are gone; this task is not to end unseen
                raise OSError(errno.ECANCELED, "the flush was given up")
            future.result()
        except OSError as error:
            if is_exhausted(error):
                return  # no flush has failed; the directory's upkeep asks again
            self._has_failed = True
            self._on_failure(error)
            return
        for log, job in jobs:
            log.finish_flush(job)
