"""Fetch sessions as any stub may speak them: credit, moves, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.broker.fake_controller import FakeController
from integration.client.arrangement import channel_to
from integration.client.streaming_broker import SESSIONS, cluster

import ottla.testing
from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc
from ottla.client.producer import Producer
from ottla.protocol.batch import iter_batches
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import OttlaError
from ottla.testing import AsyncCluster
from ottla_broker.rpc import fetch_session
from ottla_runtime.rpc_errors import error_of

Request = fetch_pb2.FetchRequest
Response = fetch_pb2.FetchResponse
MANY_IDS = range(2, fetch_session.SUBSCRIPTIONS_MAX + 3)
EARLIEST = fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_EARLIEST)


async def _read(call: Any) -> Any:
    try:
        return await call.read()
    except grpc.RpcError as failed:
        raise error_of(failed) from failed


class Session:
    """One fetch session of a client that does as the test says."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call: Any = fetch_pb2_grpc.FetchServiceStub(channel).Fetch()

    async def say(self, **kind: Any) -> None:
        await self._call.write(Request(**kind))

    async def opened(self, *, credit: int, message_size_max: int = 0) -> None:
        opening = fetch_pb2.OpenSession(message_size_max_bytes=message_size_max)
        await self.say(open=opening)
        await self.grant(credit)

    async def grant(self, size: int) -> None:
        await self.say(credit=fetch_pb2.GrantCredit(size_bytes=size))

    async def subscribe(self, number: int, *, partition: int = 0, **fields: Any) -> None:
        given: dict[str, Any] = {"topic": "flights", "start": EARLIEST} | fields
        subscribe = fetch_pb2.Subscribe(subscription_id=number, partition=partition, **given)
        await self.say(subscribe=subscribe)

    async def next(self) -> fetch_pb2.FetchResponse:
        """The next message that is more than a sign of life."""
        while (message := await self.next_of_all()).HasField("heartbeat"):
            continue
        return message

    async def next_of_all(self) -> fetch_pb2.FetchResponse:
        message = await _read(self._call)
        if message is grpc.aio.EOF:
            raise AssertionError("the call ended with OK")
        assert isinstance(message, Response)
        return message

    async def event(self, kind: str) -> fetch_pb2.FetchResponse:
        """The next message, which has to be this event."""
        message = await self.next()
        assert message.WhichOneof("event") == kind, message
        return message

    async def ended(self) -> str:
        return from_proto((await self.event("ended")).ended.error).reason

    async def end(self) -> grpc.StatusCode:
        await self._call.done_writing()
        while await self._call.read() is not grpc.aio.EOF:
            continue
        code: grpc.StatusCode = await self._call.code()
        return code


async def fill(bootstrap: str) -> None:
    """Ten batches of one record of 1,000 bytes in each of two partitions."""
    async with Producer(bootstrap, batch_bytes_max=1_200) as producer:
        for partition in (0, 1):
            values = [b"%03d" % number + b"x" * 997 for number in range(10)]
            await (await producer.send_many("flights", values, partition=partition))


@asynccontextmanager
async def arranged() -> AsyncIterator[tuple[AsyncCluster, Session]]:
    """A cluster with two filled partitions."""
    async with (
        ottla.testing.cluster(topics={"flights": 2}) as cluster,
        channel_to(cluster.bootstrap) as channel,
    ):
        await fill(cluster.bootstrap)
        yield cluster, Session(channel)


@asynccontextmanager
async def with_levers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FakeController, Session]]:
    """The same two partitions, under a controller that moves leaders as a test says."""
    async with cluster(tmp_path, monkeypatch) as broker:
        broker.controller.create_topic("flights", partition_count=2)
        await fill(f"127.0.0.1:{broker.port}")
        yield broker.controller, Session(broker.channel)


async def test_nothing_comes_without_credit_and_no_more_than_it_allows() -> None:
    async with arranged() as (_, session):
        await session.opened(credit=0, message_size_max=1_024)
        await session.subscribe(1)
        assert (await session.event("subscribed")).subscribed.next_offset == 0
        await session.subscribe(2, partition=9)
        assert await session.ended() == "UNKNOWN_TOPIC_OR_PARTITION"  # and nothing before it
        await session.grant(1)
        first = await session.next()
        assert (first.subscription_id, first.next_offset, len(first.batches)) == (1, 1, 1)
        size = first.ByteSize()
        await session.subscribe(3, partition=9)
        assert await session.ended() == "UNKNOWN_TOPIC_OR_PARTITION"
        await session.grant(size - 1)
        await session.subscribe(4, partition=9)
        assert await session.ended() == "UNKNOWN_TOPIC_OR_PARTITION"
        await session.grant(1)
        assert (await session.next()).next_offset == 2
        assert await session.end() is grpc.StatusCode.OK


async def test_ready_partitions_take_turns() -> None:
    async with arranged() as (_, session):
        await session.opened(credit=0, message_size_max=1_024)
        await session.subscribe(1)
        await session.subscribe(2, partition=1)
        for _ in range(2):
            await session.event("subscribed")
        await session.grant(1 << 20)
        order = [(await session.next()).subscription_id for _ in range(20)]
        assert order in ([1, 2] * 10, [2, 1] * 10)


async def test_new_data_comes_as_soon_as_it_is_committed() -> None:
    latest = fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_LATEST)
    async with (
        arranged() as (cluster, session),
        Producer(cluster.bootstrap) as producer,
    ):
        await session.opened(credit=1 << 20)
        await session.subscribe(1, start=latest)
        assert (await session.event("subscribed")).next_offset == 10
        for offset in (10, 11):
            await (await producer.send("flights", b"new", partition=0))
            message = await session.next()
            assert (message.high_watermark, message.next_offset) == (offset + 1, offset + 1)
            (batch,) = message.batches
            assert batch.base_offset == offset


async def test_unsubscribing_seeking_and_pausing_do_as_they_say() -> None:
    async with arranged() as (_, session):
        await session.opened(credit=0, message_size_max=1_024)
        await session.subscribe(1)
        await session.event("subscribed")
        start = fetch_pb2.ReadStart(offset=7)
        await session.say(
            seek=fetch_pb2.Seek(subscription_id=1, new_subscription_id=2, start=start)
        )
        assert (await session.event("subscribed")).subscription_id == 2
        await session.say(set_paused=fetch_pb2.SetPaused(subscription_ids=[2, 99], paused=True))
        await session.subscribe(3, partition=1, start=start)
        await session.event("subscribed")
        await session.grant(1 << 20)
        assert [(await session.next()).subscription_id for _ in range(3)] == [3, 3, 3]
        await session.say(set_paused=fetch_pb2.SetPaused(subscription_ids=[2], paused=False))
        assert [(await session.next()).next_offset for _ in range(3)] == [8, 9, 10]
        await session.say(unsubscribe=fetch_pb2.Unsubscribe(subscription_ids=[2, 99]))
        message = await session.event("ended")
        assert (message.subscription_id, message.ended.HasField("error")) == (2, False)


async def test_trouble_of_a_partition_ends_its_subscription_alone() -> None:
    cases: list[tuple[dict[str, Any], str]] = [
        ({"topic": "missing"}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"topic_id": b"x" * 16}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"start": fetch_pb2.ReadStart(offset=11)}, "OFFSET_OUT_OF_RANGE"),
        ({"start": fetch_pb2.ReadStart(offset=-1)}, "INVALID_REQUEST"),
        ({"leader_epoch": 77}, "STALE_LEADER_EPOCH"),
    ]
    async with arranged() as (_, session):
        await session.opened(credit=1 << 20)
        for number, (fields, reason) in enumerate(cases, start=1):
            await session.subscribe(number, **fields)
            assert await session.ended() == reason
        await session.subscribe(50)
        await session.event("subscribed")
        message = await session.next()
        frames = b"".join(Response(batches=[each]).SerializeToString() for each in message.batches)
        assert sum(batch.header.record_count for batch in iter_batches(frames)) == 10


async def test_a_leader_that_moves_away_ends_its_subscriptions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_levers(tmp_path, monkeypatch) as (controller, session):
        await session.opened(credit=1 << 20)
        await session.subscribe(1)
        await session.event("subscribed")
        assert (await session.next()).next_offset == 10
        controller.move_leader("flights", 0, leader_id=None)
        assert await session.ended() == "NOT_LEADER"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"heartbeat": fetch_pb2.Heartbeat()}, "INVALID_REQUEST"),
        ({"open": fetch_pb2.OpenSession(isolation=9)}, "UNSUPPORTED_VERSION"),  # type: ignore[arg-type]  # unknown on purpose
        ({}, "INVALID_REQUEST"),
    ],
)
async def test_a_session_that_begins_wrong_is_over(kind: dict[str, Any], reason: str) -> None:
    async with arranged() as (_, session):
        await session.say(**kind)
        with pytest.raises(OttlaError) as caught:
            await session.next()
        assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ({"open": fetch_pb2.OpenSession()}, "INVALID_REQUEST"),
        ({}, "UNSUPPORTED_VERSION"),
        ({"credit": fetch_pb2.GrantCredit(size_bytes=2**64 - 1)}, "INVALID_REQUEST"),
        ({"subscribe": fetch_pb2.Subscribe(topic="flights")}, "INVALID_REQUEST"),
        ({"unsubscribe": fetch_pb2.Unsubscribe(subscription_ids=MANY_IDS)}, "INVALID_REQUEST"),
        ({"set_paused": fetch_pb2.SetPaused(subscription_ids=MANY_IDS)}, "INVALID_REQUEST"),
        ({"subscribe": fetch_pb2.Subscribe(topic="flights", subscription_id=1)}, "INVALID_REQUEST"),
    ],
)
async def test_breaking_the_rules_ends_the_session(kind: dict[str, Any], reason: str) -> None:
    async with arranged() as (_, session):
        await session.opened(credit=0)
        await session.subscribe(1)
        await session.event("subscribed")
        await session.say(**kind)
        with pytest.raises(OttlaError) as caught:
            await session.next()
        assert caught.value.reason == reason


async def test_more_subscriptions_than_a_session_takes_are_refused_one_by_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fetch_session, "SUBSCRIPTIONS_MAX", 20)
    monkeypatch.setattr(fetch_session, "EVENTS_MAX", 5)
    async with arranged() as (_, session):
        await session.opened(credit=0)
        for number in range(1, 101):
            await session.subscribe(number)
        kinds = [(await session.next()).WhichOneof("event") for _ in range(100)]
        assert (kinds.count("subscribed"), kinds.count("ended")) == (20, 80)
        await session.grant(1 << 20)
        assert (await session.next()).next_offset == 10


async def test_an_idle_session_gives_signs_of_life_and_a_drained_one_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_levers(tmp_path, monkeypatch) as (_, session):
        await session.opened(credit=0)
        alive = await session.next_of_all()
        assert (alive.WhichOneof("event"), alive.subscription_id) == ("heartbeat", 0)
        for sessions in SESSIONS:
            sessions.drain()
        with pytest.raises(OttlaError) as caught:
            await session.next()
        assert caught.value.reason == "DRAINING"
