"""What the storage is given: a place for blocking work, and a log's view of its directory."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol, TypeVar

from ottla.protocol.ids import DirectoryId
from ottla_broker.storage.flush_job import LogFlushJob
from ottla_runtime.clock import Clock

__all__ = ["Clock", "LogHome", "Offload", "ThreadOffload"]

Result = TypeVar("Result")


class Offload(Protocol):
    """Runs blocking work beside the event loop."""

    def run(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        """Start `work`; the future is done with its outcome. Do not cancel it: see `beside`."""
        ...


class ThreadOffload:
    """A bounded pool of named threads."""

    def __init__(self, *, name: str, threads_max: int) -> None:
        self._pool = ThreadPoolExecutor(max_workers=threads_max, thread_name_prefix=name)

    def run(self, work: Callable[[], Result]) -> asyncio.Future[Result]:
        return asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self, *, waits: bool = False) -> None:
        """Take no more work; what was begun is finished, and waited for if asked (blocking)."""
        self._pool.shutdown(wait=waits, cancel_futures=True)


class Flushable(Protocol):
    """A log that has something to flush."""

    def begin_flush(self) -> LogFlushJob | None:
        """What is to be flushed now; None if there is nothing."""
        ...

    def finish_flush(self, job: LogFlushJob) -> None:
        """The job succeeded."""
        ...


class LogHome(Protocol):
    """The log directory, as seen by a log in it."""

    @property
    def path(self) -> Path: ...

    @property
    def directory_id(self) -> DirectoryId: ...

    def request_flush(self, log: Flushable) -> None:
        """Flush the log in the next round."""
        ...

    async def checkpoint(self) -> None:
        """Returns once the marks of all logs, as they are now or later, are durable.

        Raises StorageFull, StorageOffline.
        """
        ...

    async def keep_epochs(self) -> None:
        """Returns once the leader epochs of all logs, as they are now or later, are durable.

        Raises StorageFull, StorageOffline.
        """
        ...

    def fail(self, error: OSError) -> None:
        """The disk failed: take the directory offline, with all its logs."""
        ...
