"""Waiting until the broker shows a version of the metadata.

Owns the futures of those who wait. Who knows that a version is reached says so with `reached`.
"""

from __future__ import annotations

import asyncio
import heapq
from itertools import count

from ottla_broker.metadata.views import OLDEST_VERSION, ClusterVersion


class VersionWaiters:
    """Those who wait for a version; used on the loop's thread only."""

    def __init__(self) -> None:
        self._version = OLDEST_VERSION
        self._heap: list[tuple[ClusterVersion, int, asyncio.Future[None]]] = []
        self._order = count()

    @property
    def version(self) -> ClusterVersion:
        """The version reached so far."""
        return self._version

    def reached(self, version: ClusterVersion) -> None:
        """Everything up to `version` shows; a lower one than before changes nothing."""
        self._version = max(self._version, version)
        while self._heap and self._heap[0][0] <= self._version:
            _, _, future = heapq.heappop(self._heap)
            if not future.done():
                future.set_result(None)

    async def wait_for(self, version: ClusterVersion) -> None:
        """Return once `version` or a later one shows; the caller bounds the wait."""
        if version <= self._version:
            return
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (version, next(self._order), future)
        heapq.heappush(self._heap, entry)
        try:
            await future
        finally:
            if not future.done() or future.cancelled():
                self._forget(entry)

    def _forget(self, entry: tuple[ClusterVersion, int, asyncio.Future[None]]) -> None:
        if entry in self._heap:
            self._heap.remove(entry)
            heapq.heapify(self._heap)
