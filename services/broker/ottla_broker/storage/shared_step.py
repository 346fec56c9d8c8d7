"""A blocking step that many ask for, taken once for all who asked before it began.

    asked ─► step begins ─► done: all who had asked are answered
               └── whoever asks now waits for the next one

Owns the waiting. What the step does is its maker's; failures other than want of room, descriptors
or memory are told, for they are the disk's.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ottla.protocol.errors import OttlaError, StorageFull, StorageOffline
from ottla_broker.storage.filesystem import is_exhausted, is_full


class SharedStep:
    """Belongs to one log directory, on its loop; `run` is the one task that takes steps."""

    def __init__(
        self,
        step: Callable[[], Awaitable[None]],
        *,
        name: str,
        on_failure: Callable[[OSError], None],
    ) -> None:
        self._step = step
        self._name = name
        self._on_failure = on_failure
        self._waiting: list[asyncio.Future[None]] = []
        self._served: list[asyncio.Future[None]] = []
        self._wake = asyncio.Event()
        self._ended: OttlaError | None = None

    async def taken(self) -> None:
        """Returns once a step that began after this call has ended well.

        Raises StorageFull, StorageOffline.
        """
        if self._ended is not None:
            raise type(self._ended)(self._ended.message, metadata=self._ended.metadata)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._wake.set()
        await future

    async def run(self) -> None:
        """Take steps until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            self._served, self._waiting = self._waiting, []
            try:
                await self._step()
            except OSError as error:
                _end(self._served, self._failure(error))
            else:
                _end(self._served, None)

    def fail(self, error: OttlaError) -> None:
        """No step will be taken any more: whoever waits is told, and who comes."""
        self._ended = self._ended or error
        waiting, self._waiting = [*self._served, *self._waiting], []
        _end(waiting, error)

    def _failure(self, error: OSError) -> OttlaError:
        if is_full(error):
            return StorageFull(f"{self._name}: {error}")
        if not is_exhausted(error):
            self._on_failure(error)
        return StorageOffline(f"{self._name}: {error}")


def _end(waiting: list[asyncio.Future[None]], error: OttlaError | None) -> None:
    for future in waiting:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(type(error)(error.message, metadata=error.metadata))
