"""Metadata pushed to the clients of one listener: what changed, encoded once, to all who follow it.

Owns the watchers, their bounded queues, and a short history to resume from. Changes are gathered
for 20 ms, then encoded and offered; a watcher whose queue is full gets the present state of all
that changed meanwhile instead. Does not own what clients are shown: `client_view` does.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from ottla.protocol.errors import Draining, Throttled
from ottla.protocol.ids import NodeId, TopicId
from ottla_broker.metadata.client_view import ClientView, topic_info, unknown_topic
from ottla_broker.metadata.cluster_table import TableChanges
from ottla_broker.metadata.idle_alarms import IdleAlarm, IdleAlarms
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.metadata.watch_interest import WatchInterest
from ottla_broker.metadata.watch_messages import (
    broker_piece,
    change_messages,
    heartbeat_message,
    removed_broker_piece,
    removed_topic_piece,
    snapshot_messages,
    topic_piece,
)
from ottla_runtime.clock import Clock

COALESCE_MS = 20
QUEUE_TICKS_MAX = 64
HISTORY_TICKS_MAX = 256
WATCHERS_MAX = 10_000
"""As many as a listener takes connections: a client needs one stream."""
RETRY_AFTER_MS = 1_000


@dataclass(frozen=True, slots=True)
class Tick:
    """What one gathering of changes touched: by topic, the pieces that bring it up to date."""

    before: ClusterVersion
    version: ClusterVersion
    brokers: tuple[bytes, ...]
    topics: dict[TopicId, tuple[str, bytes]]


@dataclass(frozen=True, slots=True)
class _Past:
    """What a tick touched, without its content."""

    before: ClusterVersion
    version: ClusterVersion
    brokers: frozenset[NodeId]
    topics: dict[TopicId, str]


class _Watcher:
    """One stream's queue; `behind` gathers what a full queue had to leave out."""

    def __init__(
        self, interest: WatchInterest, *, version: ClusterVersion, alarm: IdleAlarm
    ) -> None:
        self.interest = interest
        self.version = version
        self.alarm = alarm
        self.queue: deque[Tick] = deque()
        self.behind: _Past | None = None

    def offer(self, tick: Tick, past: _Past) -> None:
        """Queue a tick, or remember what it touched."""
        if self.behind is None and len(self.queue) < QUEUE_TICKS_MAX:
            self.queue.append(tick)
        else:
            self.behind = past if self.behind is None else _merged(self.behind, past)
        self.alarm.event.set()

    def has_news(self) -> bool:
        """Whether anything waits to be sent."""
        return bool(self.queue) or self.behind is not None


class WatchHub:
    """Serves WatchMetadata of one listener. `run` is its one task; all on the loop's thread."""

    def __init__(
        self,
        view: ClientView,
        *,
        clock: Clock,
        alarms: IdleAlarms,
        watchers_max: int = WATCHERS_MAX,
    ) -> None:
        self._watchers_max = watchers_max
        self._view = view
        self._alarms = alarms
        self._clock = clock
        self._watchers: set[_Watcher] = set()
        self._pending: TableChanges | None = None
        self._published = view.table.version
        self._history: deque[_Past] = deque(maxlen=HISTORY_TICKS_MAX)
        self._wake = asyncio.Event()
        self._is_draining = False

    @property
    def watcher_count(self) -> int:
        """Streams that are being served."""
        return len(self._watchers)

    def changed(self, changes: TableChanges) -> None:
        """The table has changed; watchers hear of it with the next tick."""
        if self._pending is None:
            self._pending = TableChanges()
        self._pending.merge(changes)
        self._wake.set()

    def drain(self) -> None:
        """End every stream, and those that are yet to begin."""
        self._is_draining = True
        for watcher in self._watchers:
            watcher.alarm.event.set()

    async def run(self) -> None:
        """Gather and publish changes for ever."""
        while True:
            await self._wake.wait()
            await self._clock.sleep_until(self._clock.monotonic_ms() + COALESCE_MS)
            self._wake.clear()
            self.publish()

    def publish(self) -> None:
        """Offer everything that changed since the last time to those who follow it."""
        changes, self._pending = self._pending, None
        if changes is None:
            return
        before, version = self._published, self._view.table.version
        self._published = version
        names = dict(changes.removed_topics)
        for topic_id in changes.topics.keys() | changes.partitions.keys():
            entry = self._view.table.topic_by_id(topic_id)
            if entry is not None:
                names[topic_id] = entry.topic.name
        past = _Past(before, version, frozenset(changes.brokers), names)
        self._history.append(past)
        if self._watchers:
            self._offer(past, changes)

    def _offer(self, past: _Past, changes: TableChanges) -> None:
        followed = {
            topic_id: (name, self._changed_piece(topic_id, changes))
            for topic_id, name in past.topics.items()
            if any(watcher.interest.matches(name) for watcher in self._watchers)
        }
        tick = Tick(past.before, past.version, tuple(self._broker_pieces(past.brokers)), followed)
        for watcher in self._watchers:
            if tick.brokers or any(watcher.interest.matches(name) for name, _ in followed.values()):
                watcher.offer(tick, past)

    def _changed_piece(self, topic_id: TopicId, changes: TableChanges) -> bytes:
        entry = self._view.table.topic_by_id(topic_id)
        if entry is None:
            return removed_topic_piece(topic_id)
        if topic_id in changes.topics:
            return topic_piece(topic_info(entry))
        return topic_piece(topic_info(entry, sorted(changes.partitions[topic_id])))

    def _broker_pieces(self, node_ids: frozenset[NodeId]) -> Iterator[bytes]:
        for node_id in sorted(node_ids):
            broker = self._view.table.brokers.get(node_id)
            if broker is None or broker.fenced:
                yield removed_broker_piece(node_id)
            else:
                yield broker_piece(self._view.broker(broker))

    async def watch(
        self, interest: WatchInterest, from_version: ClusterVersion | None = None
    ) -> AsyncIterator[bytes]:
        """Messages for one stream, encoded, until the caller stops asking.

        Raises:
            Draining: the broker is to stop.
            Throttled: as many streams are being served as may be.
        """
        if len(self._watchers) >= self._watchers_max:
            raise Throttled(
                f"this broker serves {self._watchers_max} metadata watches already",
                retry_after_ms=RETRY_AFTER_MS,
            )
        self.publish()  # a snapshot shows the table as it is: nothing older may follow it
        with self._alarms.alarm() as alarm:
            watcher = _Watcher(interest, version=self._published, alarm=alarm)
            self._watchers.add(watcher)
            try:
                messages = self._beginning(watcher, from_version)
                while True:
                    for message in messages:
                        yield message
                        alarm.sent()
                    if not watcher.has_news() and not self._is_draining:
                        await alarm.wait()
                    if self._is_draining:
                        raise Draining("this broker is shutting down; watch another")
                    messages = self._next(watcher)
            finally:
                self._watchers.discard(watcher)

    def _next(self, watcher: _Watcher) -> list[bytes]:
        if watcher.queue:
            return self._tick_messages(watcher, watcher.queue.popleft())
        if watcher.behind is not None:
            behind, watcher.behind = watcher.behind, None
            return self._present(watcher, behind)
        return [heartbeat_message(watcher.version)] if watcher.alarm.is_due() else []

    def _tick_messages(self, watcher: _Watcher, tick: Tick) -> list[bytes]:
        if tick.version <= watcher.version:  # a resumed client has seen later ones elsewhere
            return []
        pieces = list(tick.brokers)
        pieces += (piece for name, piece in tick.topics.values() if watcher.interest.matches(name))
        messages = change_messages(pieces, before=watcher.version, version=tick.version)
        watcher.version = tick.version
        return list(messages)

    def _beginning(self, watcher: _Watcher, from_version: ClusterVersion | None) -> list[bytes]:
        if from_version is not None and from_version > watcher.version:
            watcher.version = from_version
            return [heartbeat_message(from_version)]
        since = None if from_version is None else self._since(from_version)
        if from_version is None or since is None:
            return list(snapshot_messages(self._snapshot(watcher), version=watcher.version))
        watcher.version = from_version
        return self._present(watcher, since)

    def _since(self, version: ClusterVersion) -> _Past | None:
        if version == self._published:
            return _Past(version, version, frozenset(), {})
        if not self._history or version < self._history[0].before:
            return None
        merged: _Past | None = None
        for past in self._history:
            if past.version > version:
                merged = past if merged is None else _merged(merged, past)
        return merged

    def _snapshot(self, watcher: _Watcher) -> Iterator[bytes]:
        for info in self._view.brokers():
            yield broker_piece(info)
        for name in watcher.interest.names_in(self._view.table):
            entry = self._view.table.topic(name)
            yield topic_piece(unknown_topic(name=name) if entry is None else topic_info(entry))

    def _present(self, watcher: _Watcher, past: _Past) -> list[bytes]:
        pieces = list(self._broker_pieces(past.brokers))
        for topic_id, name in past.topics.items():
            if not watcher.interest.matches(name):
                continue
            entry = self._view.table.topic_by_id(topic_id)
            piece = topic_piece(topic_info(entry)) if entry else removed_topic_piece(topic_id)
            pieces.append(piece)
        version = max(past.version, watcher.version)
        messages = change_messages(pieces, before=watcher.version, version=version)
        watcher.version = version
        return list(messages)


def _merged(earlier: _Past, later: _Past) -> _Past:
    return _Past(
        earlier.before,
        later.version,
        earlier.brokers | later.brokers,
        earlier.topics | later.topics,
    )
