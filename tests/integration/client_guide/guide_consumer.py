"""A consumer as the client guide describes it: sessions, credit, positions, and what ends them."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from integration.client_guide.guide_batches import GuideRecord, records_of
from integration.client_guide.guide_calls import (
    TRY_AGAIN,
    CallFailed,
    Failure,
    Waits,
    failure_of_item,
    finish,
    next_message,
    write,
)
from integration.client_guide.guide_metadata import Metadata

from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc

Request = fetch_pb2.FetchRequest
_HEARTBEAT = Request(heartbeat=fetch_pb2.Heartbeat())


@dataclass
class Position:
    """Where reading goes on in a partition, and what was read so far."""

    partition: int
    wanted_count: int
    """Of records: reading ends once there are so many."""
    next_offset: int = 0
    last_epoch: int | None = None
    """Leader epoch of the last batch read; None before, and after a reset."""
    starts_earliest: bool = False
    records: list[GuideRecord] = field(default_factory=list)

    @property
    def is_done(self) -> bool:
        return len(self.records) >= self.wanted_count

    def start(self) -> fetch_pb2.ReadStart:
        if self.starts_earliest:
            return fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_EARLIEST)
        return fetch_pb2.ReadStart(offset=self.next_offset)

    def ended(self, failure: Failure) -> bool:
        """What the end of a subscription means; whether waiting and asking again is all."""
        match failure.reason:
            case "OFFSET_OUT_OF_RANGE":
                self.starts_earliest, self.last_epoch = True, None
            case "LOG_TRUNCATED":
                self.next_offset = int(failure.metadata["divergence_offset"])
                self.last_epoch = None
            case reason if reason in TRY_AGAIN:
                return True
            case _:
                raise CallFailed(failure)
        return False


class Credit:
    """Bytes of messages the broker may send; given back in portions of an eighth."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.held = self.held_max = self.message_size_max = 0
        self._returned = 0

    def begin(self) -> Request:
        """A new session has none."""
        self.held = self._returned = 0
        return Request(credit=fetch_pb2.GrantCredit(size_bytes=self.size))

    def taken(self, size: int) -> None:
        self.held += size
        self.held_max = max(self.held, self.held_max)
        self.message_size_max = max(size, self.message_size_max)

    def used(self, size: int) -> Request | None:
        """A message was read, or thrown away: what to say now, if anything."""
        self._returned += size
        if self._returned * 8 < self.size:
            return None
        returned, self._returned = self._returned, 0
        self.held -= returned
        return Request(credit=fetch_pb2.GrantCredit(size_bytes=returned))


class GuideConsumer:
    """Reads partitions of one topic, each from its position on."""

    def __init__(
        self, metadata: Metadata, topic: str, *, credit_size: int, message_size_max: int = 1 << 20
    ) -> None:
        self._metadata = metadata
        self._topic = topic
        self._credit_size = credit_size
        self._message_size_max = message_size_max
        self._numbers = count(1)
        self.credits: list[Credit] = []
        """Of each session there was."""
        self.failures: list[str] = []
        """What ended sessions and subscriptions."""
        self.has_read = asyncio.Event()
        """Something was read."""

    async def read(self, positions: Iterable[Position]) -> None:
        """Read until each position has the records wanted."""
        waits = Waits()
        while left := [each for each in positions if not each.is_done]:
            await self._metadata.topic(self._topic)
            by_address: dict[str, list[Position]] = defaultdict(list)
            for position in left:
                address = self._metadata.address(self._topic, position.partition)
                if address is not None:
                    by_address[address].append(position)
            read_before = sum(len(each.records) for each in left)
            async with asyncio.TaskGroup() as group:
                for address, mine in by_address.items():
                    session = self._session(address, mine)
                    group.create_task(session, name="guide-fetch")
            if sum(len(each.records) for each in left) > read_before:
                waits.succeeded()
            await self._metadata.wait(waits.next_seconds())

    async def _session(self, address: str, positions: list[Position]) -> None:
        """One session with a broker, until everything wanted from it is read, or it ends."""
        credit = Credit(self._credit_size)
        self.credits.append(credit)
        opening = fetch_pb2.OpenSession(message_size_max_bytes=self._message_size_max)
        channel = self._metadata.connections.to(address)
        stub: Any = fetch_pb2_grpc.FetchServiceStub(channel)
        call = stub.Fetch()
        try:
            await write(call, Request(open=opening))
            await write(call, credit.begin())
            subscribed = {next(self._numbers): each for each in positions}
            for number, position in subscribed.items():
                await write(call, self._subscribe(number, position))
            while subscribed:
                message = await next_message(call, _HEARTBEAT)
                await self._take(call, message, subscribed, credit=credit)
                subscribed = {n: each for n, each in subscribed.items() if not each.is_done}
            await finish(call)
        except CallFailed as ended:
            if ended.failure.reason not in TRY_AGAIN:
                raise
            self.failures.append(ended.failure.reason)
        finally:
            call.cancel()

    def _subscribe(self, number: int, position: Position) -> Request:
        topic = self._metadata.topics[self._topic]
        request = fetch_pb2.Subscribe(
            subscription_id=number,
            topic=self._topic,
            topic_id=topic.topic_id,
            partition=position.partition,
            start=position.start(),
        )
        if position.last_epoch is not None:
            request.last_read_leader_epoch = position.last_epoch
        return Request(subscribe=request)

    async def _take(
        self,
        call: Any,
        message: fetch_pb2.FetchResponse,
        subscribed: dict[int, Position],
        *,
        credit: Credit,
    ) -> None:
        if message.batches:
            credit.taken(message.ByteSize())
        position = subscribed.get(message.subscription_id)
        event = message.WhichOneof("event")
        if position is not None and event == "ended":
            del subscribed[message.subscription_id]
            await self._ended(call, position, message, subscribed=subscribed)
        elif position is not None and event == "subscribed":
            position.next_offset = message.subscribed.next_offset
            position.starts_earliest = False
        elif position is not None:
            for batch in message.batches:
                position.records += records_of(batch, from_offset=position.next_offset)
                position.last_epoch = batch.leader_epoch
            if message.batches:
                position.next_offset = message.next_offset
                self.has_read.set()
        if message.batches and (granted := credit.used(message.ByteSize())) is not None:
            await write(call, granted)

    async def _ended(
        self,
        call: Any,
        position: Position,
        message: fetch_pb2.FetchResponse,
        *,
        subscribed: dict[int, Position],
    ) -> None:
        """A subscription is over: asked for again here at once, or later where metadata says."""
        failure = failure_of_item(message.ended.error)
        self.failures.append(failure.reason)
        if not position.ended(failure):
            number = next(self._numbers)
            subscribed[number] = position
            await write(call, self._subscribe(number, position))
