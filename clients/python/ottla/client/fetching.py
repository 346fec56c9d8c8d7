"""The engine room of a consumer: partitions subscribed where they are led, messages into a buffer.

    assigned partitions ─► settle: leader known? session open? ─► Subscribe
        ▲  ended, broke, moved, sought                                │
        └──────────────── messages ─► buffer ─► consumer ◄────────────┘

Owns the links and the task that settles what is not subscribed. What is consumed, and the public
face, is `consumer`.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from collections.abc import Callable, Iterable
from itertools import count
from typing import Final

from ottla.api.fetch.v1 import fetch_pb2
from ottla.client.clock import Clock
from ottla.client.cluster_access import ClusterAccess
from ottla.client.core.fetch_buffer import FetchBuffer
from ottla.client.core.fetch_wire import FetchedMessage
from ottla.client.core.positions import PartitionPosition, ResetPolicy, TopicPartition
from ottla.client.core.record_columns import RawRecord
from ottla.client.core.retries import Backoff
from ottla.client.fetch_link import FetchLink, FetchTerms
from ottla.client.fetch_troubles import FetchTroubles
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import (
    Internal,
    LogTruncated,
    OttlaError,
    Throttled,
    UnknownTopicOrPartition,
)

_log = logging.getLogger(__name__)

_SETTLE_INTERVAL_MS: Final = 50


class Fetching:
    """Belongs to one consumer and its event loop."""

    def __init__(
        self,
        access: ClusterAccess,
        buffer: FetchBuffer,
        *,
        terms: FetchTerms,
        policy: ResetPolicy,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._access = access
        self._buffer = buffer
        self._terms = terms
        self._policy = policy
        self._clock = clock
        self._chance = chance
        self._backoff = Backoff()
        self._positions: dict[TopicPartition, PartitionPosition] = {}
        self._subscriptions: dict[int, PartitionPosition] = {}
        self._links: dict[int, FetchLink] = {}
        self._troubles = FetchTroubles(clock=clock)
        self._numbers = count(1)
        self._errors: deque[OttlaError] = deque()
        self._news = asyncio.Event()
        self._waiting_count = 0
        self._moved = asyncio.Event()
        self._unsettled = asyncio.Event()
        access.on_change = self._unsettled.set
        access.on_defect = self._defect

    async def open(self) -> None:
        """Begin. Raises what opening an access raises."""
        await self._access.open()
        self._access.tasks.start(self._settle_all(), name="ottla-fetch-settle")

    async def close(self) -> None:
        """End all sessions; what is buffered is dropped."""
        for position in self._positions.values():
            self._buffer.drop(position)
        self._positions.clear()
        self._moved.set()
        self._news.set()
        await self._access.close()

    # What the consumer says

    @property
    def positions(self) -> dict[TopicPartition, PartitionPosition]:
        """Every assigned partition."""
        return self._positions

    def assign(self, positions: Iterable[PartitionPosition]) -> None:
        """Fetch these partitions and no others; those assigned already go on as they are."""
        wanted = {each.place: each for each in positions}
        for old in list(self._positions.values()):
            if old.place not in wanted or old.is_gone:
                self.leave(self._positions.pop(old.place))
                self._troubles.forget(old.place)
        for place, position in wanted.items():
            self._positions.setdefault(place, position)
        self._unsettled.set()

    def leave(self, position: PartitionPosition) -> None:
        """End the partition's subscription; its position stays, what was fetched goes."""
        self._buffer.drop(position)
        subscription_id, position.subscription_id = position.subscription_id, None
        if subscription_id is not None:
            self._subscriptions.pop(subscription_id, None)
            link = self._links.get(position.node_id or 0)
            if link is not None and link.is_open:
                ending = fetch_pb2.Unsubscribe(subscription_ids=[subscription_id])
                link.request(fetch_pb2.FetchRequest(unsubscribe=ending))
        self._unsettled.set()

    def take(self) -> list[RawRecord] | None:
        """Records, if any are here.

        Raises:
            OttlaError: a partition can't go on; it says which and why, once.
        """
        records = self._buffer.next_records()
        if records is None and self._errors:
            raise self._errors.popleft()
        return records

    def settle(self) -> None:
        """Look again at what isn't subscribed."""
        self._unsettled.set()

    async def moved(self) -> None:
        """Return when positions may have become known."""
        self._moved.clear()
        await self._moved.wait()

    async def wait(self) -> None:
        """Return when `take` is worth another try; clears what it waited for."""
        self._waiting_count += 1
        try:
            await self._news.wait()
        finally:
            self._waiting_count -= 1
        self._news.clear()

    def wake_others(self) -> None:
        """Have other tasks that wait look again: what one of them took it may share."""
        if self._waiting_count:
            self._news.set()

    # What links tell

    def session_began(self, node_id: int) -> None:
        self._unsettled.set()

    def session_broke(self, node_id: int, error: OttlaError) -> None:
        self._troubles.session_broke(node_id, self._links[node_id].address, error)
        for position in self._positions.values():
            if position.node_id == node_id and position.subscription_id is not None:
                self._subscriptions.pop(position.subscription_id, None)
                position.subscription_id = position.node_id = None
                self._buffer.drop(position)
                self._access.follower.refresh(position.topic)
        self._unsettled.set()

    def received(
        self, node_id: int, message: FetchedMessage, release: Callable[[int], None]
    ) -> None:
        self._troubles.heard(node_id)
        fields = message.fields
        position = self._subscriptions.get(fields.subscription_id)
        if position is None:
            if len(message.batches):
                release(message.size)  # of a subscription left meanwhile
            return
        event = fields.WhichOneof("event")
        if event == "ended":
            self._ended(position, fields)
            return
        position.high_watermark = fields.high_watermark
        if event == "subscribed":
            position.subscribed_at(fields.subscribed.next_offset)
            self._moved.set()
        if len(message.batches):
            self._buffer.add(
                position,
                message.batches,
                next_offset=fields.next_offset,
                size=message.size,
                release=release,
            )
            self._news.set()

    def _ended(self, position: PartitionPosition, fields: fetch_pb2.FetchResponse) -> None:
        self._subscriptions.pop(fields.subscription_id, None)
        self._buffer.drop(position)
        error = from_proto(fields.ended.error)
        if isinstance(error, Throttled):
            self._troubles.throttled(position.place, error)
        is_news = self._access.view.take_hint(error)
        if error.refresh_metadata and not is_news:
            self._access.follower.refresh(position.topic)
        if isinstance(error, LogTruncated):
            _log.warning("the log was truncated under a reader: %s", error.message)
        final = position.ended(
            error,
            policy=self._policy,
            now_ms=self._clock.monotonic_ms(),
            chance=None if is_news else self._chance.random(),
            backoff=self._backoff,
        )
        self._tell(final)
        self._unsettled.set()

    def _tell(self, final: OttlaError | None) -> None:
        """Have the application told of what it has to decide, if there is something."""
        if final is not None:
            self._errors.append(final)
            self._news.set()
            self._moved.set()

    def _defect(self, error: Exception) -> None:
        """One of our own tasks failed: nothing more will come, so say so."""
        failure = Internal(f"the consumer failed unexpectedly: {error}")
        failure.__cause__ = error
        self._errors.append(failure)
        self._news.set()

    # Settling

    async def _settle_all(self) -> None:
        """Subscribe what isn't, as soon as that is possible, again and again."""
        while True:
            await self._unsettled.wait()
            self._unsettled.clear()
            open_count = sum(not self._settle(each) for each in self._positions.values())
            if open_count:
                now_ms = self._clock.monotonic_ms()
                await self._clock.sleep_until(now_ms + _SETTLE_INTERVAL_MS)
                self._unsettled.set()

    def _settle(self, position: PartitionPosition) -> bool:
        """Subscribe a partition; False if that has to be tried again."""
        if position.subscription_id is not None or position.is_paused or position.failure:
            return True
        if self._clock.monotonic_ms() < position.retry_at_ms:
            return False
        view = self._access.view
        topic, place = view.topic(position.topic), position.place
        if topic is not None:
            self._tell(position.found_topic(topic.topic_id, policy=self._policy))
        elif isinstance(view.error(position.topic), UnknownTopicOrPartition):
            self._tell(position.lost_topic(self._clock.monotonic_ms()))
        if position.failure:
            return True
        leader = view.leader(position.topic, position.partition)
        link = None
        if leader is not None and leader.node_id is not None:
            link = self._link(leader.node_id)
        if topic is None or link is None:
            self._troubles.no_leader(place)
            self._access.follower.refresh(position.topic)
            return False
        self._troubles.leader_found(place)
        if not link.is_open:
            link.want()
            return True  # the session's beginning brings us here again
        self._subscribe(position, link, topic.topic_id)
        return True

    def _subscribe(self, position: PartitionPosition, link: FetchLink, topic_id: bytes) -> None:
        number = next(self._numbers)
        position.subscription_id, position.node_id = number, link.node_id
        self._subscriptions[number] = position
        request = position.subscribe_message(number, topic_id)
        link.request(fetch_pb2.FetchRequest(subscribe=request))

    def _link(self, node_id: int) -> FetchLink | None:
        address = self._access.view.broker(node_id)
        link = self._links.get(node_id)
        if link is None and address is not None:
            link = FetchLink(node_id, address, owner=self, terms=self._terms)
            self._links[node_id] = link
            self._access.tasks.start(link.run(), name=f"ottla-fetch-{node_id}")
        elif link is not None and address is not None:
            link.address = address  # the next session goes there
        return link
