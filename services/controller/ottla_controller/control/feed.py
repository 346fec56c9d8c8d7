"""Changes of metadata for many watchers: gathered, coalesced, cut into messages, kept for a while.

Owns the recent history. A watcher has no queue of its own: it holds the revision it has come to
and takes what follows from the history, so a slow one costs nothing; one that has fallen behind the
history gets a snapshot instead. Changes are encoded once, whoever reads them, and so are snapshots:
after a failover a thousand ask for the same one at a time.

    image ──changes──► pending ──20 ms──► deltas (bounded) ──► watchers, each at its own revision
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import (
    MetadataChange,
    WatchClusterMetadataResponse,
)
from ottla_controller.control.image import ClusterImage
from ottla_controller.core import limits
from ottla_controller.core.publication import as_change, latest, snapshot
from ottla_controller.core.record_keys import Record
from ottla_runtime.clock import Clock

DELTAS_MAX: Final = 1_000
HISTORY_BYTES_MAX: Final = 16 * 1_048_576


@dataclass(frozen=True)
class Chunk:
    """Changes that go into one message."""

    changes: tuple[MetadataChange, ...]
    size: int

    @cached_property
    def encoded(self) -> bytes:
        """The message with nothing but the changes; what comes before it is part of it as well."""
        return WatchClusterMetadataResponse(changes=self.changes).SerializeToString()


@dataclass(frozen=True, slots=True)
class Delta:
    """What changed between two revisions that watchers can be at."""

    base_revision: int
    revision: int
    chunks: tuple[Chunk, ...]


class Snapshot:
    """Everything visible at one revision, encoded as far as anybody has asked for it."""

    def __init__(self, revision: int, records: Iterable[Record]) -> None:
        self.revision = revision
        self._rest = cut_records(records)
        self._encoded: list[bytes] = []

    def portion(self, number: int) -> bytes | None:
        """One message's changes, encoded; None behind the last."""
        while number >= len(self._encoded):
            chunk = next(self._rest, None)
            if chunk is None:
                return None
            self._encoded.append(chunk.encoded)
        return self._encoded[number]


class MetadataFeed:
    """The history, and who waits for more of it. `run` and `run_heartbeats` are its tasks."""

    def __init__(
        self, image: ClusterImage, *, clock: Clock, coalesce_ms: int, heartbeat_interval_ms: int
    ) -> None:
        self._image = image
        self._clock = clock
        self._coalesce_ms = coalesce_ms
        self._heartbeat_interval_ms = heartbeat_interval_ms
        self._pending: list[MetadataChange] = []
        self._has_pending = asyncio.Event()
        self._deltas: deque[Delta] = deque()
        self._bytes = 0
        self._base_revision = image.visible_revision
        self._moved: set[asyncio.Event] = set()
        self._snapshot: Snapshot | None = None
        self.heartbeat_count = 0
        self.revision = image.visible_revision
        """The revision that the history leads up to."""
        image.listen(self._published)

    async def run(self) -> None:
        """Turns what was published into deltas, a while after the first of it. Until cancelled."""
        while True:
            await self._has_pending.wait()
            await self._clock.sleep_until(self._clock.monotonic_ms() + self._coalesce_ms)
            self.flush()

    async def run_heartbeats(self) -> None:
        """Wakes watchers now and then, for a sign of life. Until cancelled."""
        while True:
            next_ms = self._clock.monotonic_ms() + self._heartbeat_interval_ms
            await self._clock.sleep_until(next_ms)
            self.heartbeat_count += 1
            self.wake()

    def flush(self) -> None:
        """Makes a delta of what is pending."""
        self._has_pending.clear()
        if not self._pending:
            return
        self._snapshot = None
        pending, self._pending = self._pending, []
        chunks = tuple(cut(latest(pending)))
        self._deltas.append(Delta(self.revision, self._image.visible_revision, chunks))
        self._bytes += sum(chunk.size for chunk in chunks)
        self.revision = self._image.visible_revision
        while len(self._deltas) > DELTAS_MAX or (
            self._bytes > HISTORY_BYTES_MAX and len(self._deltas) > 1
        ):
            oldest = self._deltas.popleft()
            self._bytes -= sum(chunk.size for chunk in oldest.chunks)
            self._base_revision = oldest.revision
        self.wake()

    def after(self, revision: int) -> list[Delta] | None:
        """What follows on a revision that a watcher has come to; None: only a snapshot helps."""
        if not self._base_revision <= revision <= self.revision:
            return None
        begin = bisect_right(self._deltas, revision, key=_revision)
        found = [self._deltas[index] for index in range(begin, len(self._deltas))]
        # A place between the ends of two deltas is nowhere that this history led anyone to.
        return None if found and found[0].base_revision != revision else found

    def can_resume(self, version: MetadataVersion) -> bool:
        """Whether the history goes on from there."""
        same = version.generation == self._image.state.cluster.generation
        return same and self.after(version.revision) is not None

    def snapshot(self) -> tuple[int, list[Record]]:
        """A revision and every record that is visible at it."""
        self.flush()
        return self.revision, snapshot(self._image.state)

    def shared_snapshot(self) -> Snapshot:
        """The same as `snapshot`, encoded once for all who ask before something changes."""
        revision, records = self.snapshot()
        if self._snapshot is None or self._snapshot.revision != revision:
            self._snapshot = Snapshot(revision, records)
        return self._snapshot

    def join(self) -> asyncio.Event:
        """An event that is set whenever there is something new; give it back with `leave`."""
        moved = asyncio.Event()
        self._moved.add(moved)
        return moved

    def leave(self, moved: asyncio.Event) -> None:
        """Ends what `join` began."""
        self._moved.discard(moved)

    @property
    def watcher_count(self) -> int:
        return len(self._moved)

    def _published(self, changes: Sequence[MetadataChange] | None) -> None:
        if changes is None:  # everything was read anew; what lies between is not known
            self._deltas.clear()
            self._snapshot = None
            self._pending.clear()
            self._has_pending.clear()
            self._bytes = 0
            self.revision = self._base_revision = self._image.visible_revision
            self.wake()
        elif changes:
            self._pending.extend(changes)
            self._has_pending.set()

    def wake(self) -> None:
        """Lets every watcher look again."""
        for moved in self._moved:
            moved.set()


def cut(changes: Iterable[MetadataChange]) -> Iterator[Chunk]:
    """Changes in portions that fit into a message each."""
    portion: list[MetadataChange] = []
    size = 0
    for change in changes:
        change_size = change.ByteSize() + 4  # with its tag and length
        if portion and size + change_size > limits.PAGE_BYTES_MAX:
            yield Chunk(tuple(portion), size)
            portion, size = [], 0
        portion.append(change)
        size += change_size
    if portion:
        yield Chunk(tuple(portion), size)


def cut_records(records: Iterable[Record]) -> Iterator[Chunk]:
    """Records of a snapshot in portions that fit into a message each, made when asked for."""
    return cut(map(as_change, records))


def _revision(delta: Delta) -> int:
    return delta.revision
