"""The state that follows the store: read whole once, then revision by revision from the watch.

Owns the `ClusterState` and the only path by which it changes, on the active controller as on a
standby. A store that fails is tried again for as long as it takes; history that was compacted away
means reading everything anew. A store that turns out to hold a backup is not followed until
`believe_again`: whatever stands on the lost revisions has to end first. Does not write.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import MetadataChange
from ottla.protocol.errors import OttlaError, OutcomeUnknown
from ottla_controller.core.generations import NOWHERE, Position, is_elsewhere
from ottla_controller.core.publication import replay_and_publish
from ottla_controller.core.record_keys import RECORDS_PREFIX, Record, parse_record
from ottla_controller.core.state import ClusterState
from ottla_controller.setbacks import STORE_FAILURES, Setbacks
from ottla_controller.store.interface import (
    CompactedError,
    MetadataStore,
    RevisionEvents,
    StoreRestoredError,
)
from ottla_runtime.clock import Clock

Published = Callable[[Sequence[MetadataChange] | None], None]
"""Hears of each revision's visible changes; None: everything was read anew."""

_PAGE_ITEMS: Final = 1_000
_RETRY_MS: Final = 200


class ClusterImage:
    """The cluster's state as far as the store's watch has come. `run` is its one task."""

    def __init__(self, store: MetadataStore, *, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._listeners: list[Published] = []
        self._waiters: list[tuple[int, asyncio.Future[None]]] = []
        self._next_revision = 1
        self._setbacks = Setbacks()
        self.state = ClusterState()
        self.visible_revision = 0
        """The last revision that changed what watchers see."""
        self.seen = NOWHERE
        """The latest position of the store that this process has ever seen."""
        self.lost_generation = 0
        """Of which it is known that the store has lost something."""
        self.loss_noted = asyncio.Event()
        self._is_believed = asyncio.Event()
        self._is_believed.set()
        self._is_doubted = asyncio.Event()

    @property
    def version(self) -> MetadataVersion:
        """The version of what watchers see."""
        return self.version_at(self.visible_revision)

    def version_at(self, revision: int) -> MetadataVersion:
        """The version of a revision in this generation of the store."""
        return MetadataVersion(generation=self.state.cluster.generation, revision=revision)

    def listen(self, listener: Published) -> None:
        """Calls `listener` after every revision from now on."""
        self._listeners.append(listener)

    async def load(self) -> None:
        """Reads everything at one revision.

        Raises:
            MetadataStoreUnavailable: the store does not answer.
            CorruptLog: a record cannot be decoded.
        """
        state = ClusterState()
        after, revision, more = b"", None, True
        records: list[tuple[bytes, Record | None]] = []
        while more:
            page = await self._store.read(
                RECORDS_PREFIX, after=after, limit=_PAGE_ITEMS, revision=revision
            )
            revision, more = page.revision, page.more
            for item in page.items:
                after = item.key
                record = parse_record(item.key, item.value)
                if record is not None:
                    records.append((item.key, record))
        assert revision is not None, "there was at least one page"
        if revision > 0:
            state.replay(revision, records)
        self._become(state, revision)

    def _become(self, state: ClusterState, revision: int) -> None:
        went_back = revision < self.state.revision
        self.state = state
        self.visible_revision = revision
        self._next_revision = revision + 1
        self._note_seen()
        if went_back and self.is_believed:
            self.note_restored()
        else:
            self._tell(None)

    @property
    def is_believed(self) -> bool:
        """Whether the store leads up to what was read of it, as far as is known."""
        return self._is_believed.is_set()

    def note_restored(self) -> None:
        """The store holds a backup: nothing that stands on the image may go on."""
        self.note_lost(self.seen)
        self._is_believed.clear()
        self._is_doubted.set()
        waiters, self._waiters = self._waiters, []
        for _, applied in waiters:
            if not applied.done():
                applied.set_exception(OutcomeUnknown("the metadata store was restored meanwhile"))
        self._tell(None)

    def note_lost(self, seen: Position) -> None:
        """Somebody has seen what the store does not lead up to."""
        self.seen = max(self.seen, seen)
        if seen.generation > self.lost_generation:
            self.lost_generation = seen.generation
            self.loss_noted.set()

    async def believe_again(self) -> None:
        """Takes the store on as it is now. Nobody acts on what it was any more.

        Raises what `load` does.
        """
        self._store.accept_restored()
        await self.load()
        self._is_doubted.clear()
        self._is_believed.set()

    def has_lost(self, state: ClusterState) -> bool:
        """Whether this process saw the store lose something of the generation it is still in."""
        return state.cluster.generation <= self.lost_generation

    @property
    def is_settled(self) -> bool:
        """Whether it may be shown: the generation is of this store and of nothing that was lost."""
        moved = is_elsewhere(self.state.cluster, self._store.store_id)
        return not moved and not self.has_lost(self.state) and self.is_believed

    def _note_seen(self) -> None:
        self.seen = max(self.seen, Position(self.state.cluster.generation, self.state.revision))

    async def read_anew(self, on_failure: Callable[[OttlaError], None] = lambda _: None) -> None:
        """Reads everything, however long the store takes to answer: nobody knows what it holds.

        `on_failure` is called after every try that fails. Raises StoreRestoredError.
        """
        while True:
            try:
                return await self.load()
            except StoreRestoredError as error:
                self.note_restored()
                on_failure(error)
                raise
            except STORE_FAILURES as error:
                self._setbacks.met("metadata_store.read_failed", str(error))
                on_failure(error)
                await self._clock.sleep_until(self._clock.monotonic_ms() + _RETRY_MS)

    async def run(self) -> None:
        """Follows the store until cancelled; `load` was called before."""
        while True:
            await self._is_believed.wait()
            await self._follow_until_doubted()

    async def _follow_until_doubted(self) -> None:
        async with asyncio.TaskGroup() as group:
            following = group.create_task(self._follow_for_ever(), name="image-follow")
            doubting = group.create_task(self._is_doubted.wait(), name="image-doubt")
            following.add_done_callback(lambda _: doubting.cancel())
            doubting.add_done_callback(lambda _: following.cancel())

    async def _follow_for_ever(self) -> None:
        """Follows until the store turns out to hold a backup."""
        while True:
            try:
                await self._follow()
            except CompactedError:
                with suppress(StoreRestoredError):
                    await self.read_anew()
            except StoreRestoredError as error:
                self._setbacks.met("metadata_store.went_back", str(error))
                self.note_restored()
                return
            except STORE_FAILURES as error:
                self._setbacks.met("metadata_store.watch_failed", str(error))
                await self._clock.sleep_until(self._clock.monotonic_ms() + _RETRY_MS)

    async def _follow(self) -> None:
        first = self._next_revision
        async with self._store.watch(RECORDS_PREFIX, from_revision=first) as revisions:
            async for revision in revisions:
                self._setbacks.over()
                # Behind a revision at which everything was read anew meanwhile, nothing is new.
                if revision.revision >= self._next_revision:
                    self._apply(revision)

    async def wait_applied(self, revision: int) -> None:
        """Returns once the state shows a revision that wrote records."""
        if self.state.revision >= revision:
            return
        applied = asyncio.get_running_loop().create_future()
        self._waiters.append((revision, applied))
        await applied

    def _apply(self, revision: RevisionEvents) -> None:
        changes: list[tuple[bytes, Record | None]] = []
        for event in revision.events:
            record = None if event.value is None else parse_record(event.key, event.value)
            if event.value is None or record is not None:
                changes.append((event.key, record))
        published = replay_and_publish(self.state, revision.revision, changes)
        self._next_revision = revision.revision + 1
        self._note_seen()
        if published:
            self.visible_revision = revision.revision
        self._tell(published)

    def _tell(self, published: Sequence[MetadataChange] | None) -> None:
        for listener in self._listeners:
            listener(published)
        waiting = []
        for revision, applied in self._waiters:
            if self.state.revision < revision:
                waiting.append((revision, applied))
            elif not applied.done():
                applied.set_result(None)
        self._waiters = waiting
