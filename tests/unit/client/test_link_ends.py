"""Streams nobody needs, or nobody understands, are closed, and opened again for who comes next."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from kit.clock import ManualClock, settle
from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.client.batch_encoder import BatchEncoder
from ottla.client.core.addresses import Address
from ottla.client.core.fetch_wire import FetchedMessage
from ottla.client.core.partition_queue import PartitionQueue
from ottla.client.core.retries import Backoff
from ottla.client.fetch_link import IDLE_MS, FetchLink, FetchTerms
from ottla.client.produce_link import LinkTerms, ProduceLink
from ottla.client.rpc_errors import TransportFailed
from ottla.protocol.compression import Codec
from ottla.protocol.errors import OttlaError
from unit.client.fake_streams import FakeOpener
from unit.client.producing import batch, queue_of

NODE = 1
ADDRESS = Address("broker", 9092)


@asynccontextmanager
async def running(link: ProduceLink | FetchLink) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(link.run(), name="link")
        yield
        task.cancel()


class OneLeader:
    """A router of queues that this broker leads, whatever happens."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.broke: list[OttlaError] = []

    def target(self, queue: PartitionQueue, node_id: int) -> tuple[bytes, int] | None:
        return b"i" * 16, 0

    def progressed(self, queue: PartitionQueue) -> None:
        self.answered.set()

    def refused(self, error: OttlaError) -> bool:
        return False

    def link_broke(self, node_id: int, error: OttlaError) -> None:
        self.broke.append(error)


def produce_link(opener: FakeOpener, clock: ManualClock, *, owner: OneLeader) -> ProduceLink:
    terms = LinkTerms(
        acks=produce_pb2.ACKS_ALL,
        request_timeout_ms=1_000,
        idle_ms=5_000,
        encoder=BatchEncoder(Codec.NONE, level=None),
        open_channel=opener.open,
        backoff=Backoff(),
        clock=clock,
        chance=random.Random(1),
    )
    return ProduceLink(NODE, ADDRESS, owner=owner, terms=terms)


async def test_a_produce_stream_without_records_is_closed_and_opened_for_the_next() -> None:
    opener, clock, owner = FakeOpener(), ManualClock(), OneLeader()
    link = produce_link(opener, clock, owner=owner)
    first, second = queue_of(batch(0)), queue_of(batch(1))
    async with running(link):
        link.offer(first)
        channel = await opener.opened.get()
        await channel.stream.written_count(1)
        clock.tick(10_000)
        link.offer(queue_of())  # woken while an answer is due: that is not idle
        await settle()
        assert not channel.is_closed.is_set()
        answer = produce_pb2.ProduceResponse(correlation_id=1, base_offset=0)
        channel.stream.answers.put_nowait(answer.SerializeToString())
        await owner.answered.wait()
        clock.tick(4_999)
        link.offer(queue_of())
        await settle()
        assert not channel.is_closed.is_set()
        clock.tick(5_001)
        link.offer(queue_of())
        await channel.is_closed.wait()
        assert opener.opened.empty()
        link.offer(second)
        again = await opener.opened.get()
        await again.stream.written_count(1)
        assert not again.is_closed.is_set()
    assert owner.broke == []


async def test_a_broker_that_answers_garbage_is_left_as_if_it_had_gone() -> None:
    opener, clock, owner = FakeOpener(), ManualClock(), OneLeader()
    link = produce_link(opener, clock, owner=owner)
    queue = queue_of(batch(0))
    async with running(link):
        link.offer(queue)
        channel = await opener.opened.get()
        await channel.stream.written_count(1)
        channel.stream.answers.put_nowait(b"\xff\xff\xff garbage")
        await channel.is_closed.wait()
        await settle()
        assert [type(error) for error in owner.broke] == [TransportFailed]
        assert not queue.is_empty  # it is sent again
        link.offer(queue_of(batch(1)))
        await clock.advance(10_000)
        again = await opener.opened.get()
        await again.stream.written_count(1)


async def test_a_wake_up_without_records_opens_no_produce_stream() -> None:
    opener = FakeOpener()
    link = produce_link(opener, ManualClock(), owner=OneLeader())
    async with running(link):
        link._wake.set()  # as the watch of a stream that has just ended may do
        await settle()
        assert not link._wake.is_set()
        assert opener.opened.empty()


class Reader:
    """A consumer that notes what its link tells."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.has_received = asyncio.Event()
        self.broke: list[OttlaError] = []

    def session_began(self, node_id: int) -> None:
        self.began.set()

    def received(
        self, node_id: int, message: FetchedMessage, release: Callable[[int], None]
    ) -> None:
        self.has_received.set()

    def session_broke(self, node_id: int, error: OttlaError) -> None:
        self.broke.append(error)


def subscribe(number: int) -> fetch_pb2.FetchRequest:
    return fetch_pb2.FetchRequest(subscribe=fetch_pb2.Subscribe(subscription_id=number))


def wake(link: FetchLink) -> None:
    """As the link's own watch does every few seconds."""
    link._wake.set()


async def test_a_fetch_session_is_closed_when_nothing_is_subscribed_for_long() -> None:
    opener, clock, reader = FakeOpener(), ManualClock(), Reader()
    terms = FetchTerms(
        isolation=fetch_pb2.ISOLATION_READ_COMMITTED,
        rack="",
        message_size_max=1 << 20,
        credit_size=1 << 20,
        open_channel=opener.open,
        backoff=Backoff(),
        clock=clock,
        chance=random.Random(1),
    )
    link = FetchLink(NODE, ADDRESS, owner=reader, terms=terms)
    async with running(link):
        link.want()
        channel = await opener.opened.get()
        await reader.began.wait()
        for number in (1, 2):
            link.request(subscribe(number))
        await channel.stream.written_count(4)
        clock.tick(2 * IDLE_MS)
        wake(link)
        await settle()
        assert link.is_open
        leaving = fetch_pb2.Unsubscribe(subscription_ids=[1])
        link.request(fetch_pb2.FetchRequest(unsubscribe=leaving))
        ended = fetch_pb2.FetchResponse(subscription_id=2, ended=fetch_pb2.SubscriptionEnded())
        channel.stream.answers.put_nowait(ended.SerializeToString())
        await channel.stream.written_count(5)
        await reader.has_received.wait()
        clock.tick(IDLE_MS - 1)
        wake(link)
        await settle()
        assert link.is_open
        clock.tick(IDLE_MS + 1)
        wake(link)
        await channel.is_closed.wait()
        assert not link.is_open
        assert reader.broke == []
        reader.began.clear()
        link.want()
        await opener.opened.get()
        await reader.began.wait()
        assert link.is_open
