"""What a producer does when things go wrong: nothing lost, nothing half-sent, everything told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.broker.fake_controller import FakeController
from integration.client.arrangement import stored, two_topics
from integration.client.cutting_proxy import cutting_proxy
from integration.client.streaming_broker import cluster

import ottla.testing
from ottla.client.admin import Admin
from ottla.client.consumer import Consumer
from ottla.client.producer import Producer
from ottla.client.record_values import PreparedRecord
from ottla.protocol.errors import (
    BufferFull,
    InvalidRequest,
    InvalidTopic,
    OttlaError,
    RecordTooLarge,
    TopicExists,
    UnknownTopicOrPartition,
)
from ottla.testing import AsyncCluster


@asynccontextmanager
async def small_topics() -> AsyncIterator[AsyncCluster]:
    """A cluster with a topic that takes small batches alone, and two ordinary ones."""
    async with ottla.testing.cluster(topics={"single": 1, "spare": 1}) as cluster:
        await cluster.create_topic("small", configs={"max.message.bytes": "1024"})
        yield cluster


@asynccontextmanager
async def leaderless_topic(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[FakeController, str]]:
    """A broker, and a controller whose topic `leaderless` has no leader until a test moves it."""
    async with cluster(tmp_path, monkeypatch) as broker:
        broker.controller.create_topic("leaderless", leader_id=None)
        address = f"127.0.0.1:{broker.port}"
        async with Consumer(address) as follower:
            await follower.assign(["leaderless"])  # it is visible then
        yield broker.controller, address


async def test_connections_cut_at_full_rate_lose_nothing_and_keep_the_order() -> None:
    values = [b"%06d" % number + b"x" * 300 for number in range(30_000)]
    async with (
        cutting_proxy() as proxy,
        two_topics(advertised=f"public=127.0.0.1:{proxy.port}") as cluster,
    ):
        proxy.target_port = cluster.broker.port
        proxy.cut_at = [1_000_000 * number for number in range(1, 8)]
        async with Producer(f"127.0.0.1:{proxy.port}") as producer:
            receipts = await (await producer.send_many("single", values))
        found = await stored(cluster.bootstrap, "single")
        assert proxy.cut_at == []
        assert list(dict.fromkeys(found)) == values
        offsets = [receipt.offset for receipt in receipts]
        assert [found[offset] for offset in offsets if offset is not None] == values


async def test_batches_larger_than_a_topic_takes_are_split_until_they_fit() -> None:
    values = [b"%04d" % number + b"x" * 46 for number in range(2_000)]
    async with small_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            receipts = await (await producer.send_many("small", values))
        assert [receipt.offset for receipt in receipts] == list(range(2_000))
        assert await stored(cluster.bootstrap, "small") == values


async def test_a_failure_that_nobody_awaits_is_told_to_on_error_and_flush() -> None:
    told: list[OttlaError] = []
    async with small_topics() as cluster:
        async with Producer(cluster.bootstrap, on_error=told.append) as producer:
            _ = await producer.send("small", b"x" * 2_000)
            with pytest.raises(RecordTooLarge, match="1 records could not be delivered"):
                await producer.flush()
            awaited = await producer.send("small", b"y" * 2_000)
            with pytest.raises(RecordTooLarge) as caught:
                await awaited
            await producer.flush()  # told already, once
        assert [type(error) for error in told] == [RecordTooLarge]
        assert (caught.value.topic, caught.value.partition) == ("small", 0)


async def test_what_cannot_be_sent_is_refused_before_it_is_queued() -> None:
    async with small_topics() as cluster:
        producer = Producer(cluster.bootstrap)
        with pytest.raises(InvalidRequest, match="not open yet"):
            _ = await producer.send("single", b"early")
        async with producer:
            cases: list[tuple[Coroutine[Any, Any, Any], type[OttlaError]]] = [
                (producer.send("bad/name", b""), InvalidTopic),
                (producer.send("single", b"", partition=1), UnknownTopicOrPartition),
                (producer.send("single", b"x" * (1 << 20)), RecordTooLarge),
                (producer.send("single", "text"), InvalidRequest),  # type: ignore[arg-type]  # wrong on purpose
                (producer.send("single", b"", timestamp_ms=-5), InvalidRequest),
                (producer.send_many("single", [b"", 5]), InvalidRequest),  # type: ignore[list-item]  # wrong on purpose
                (producer.send_many("single", [(b"k", b"", b"")]), InvalidRequest),  # type: ignore[list-item]  # wrong on purpose
            ]
            for sending, expected in cases:
                with pytest.raises(expected):
                    await sending
        with pytest.raises(InvalidRequest, match="closed"):
            _ = await producer.send("single", b"late")
        assert await stored(cluster.bootstrap, "single") == [b""]  # what stood before the bad one


async def test_a_full_buffer_makes_send_wait_and_then_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leaderless_topic(tmp_path, monkeypatch) as (controller, address):
        async with Producer(
            address, buffer_bytes=8_000, batch_bytes_max=2_000, max_block_ms=50
        ) as producer:
            queued = 0
            with pytest.raises(BufferFull):
                while True:
                    _ = await producer.send("leaderless", b"x" * 1_000)
                    queued += 1
            assert 5 <= queued <= 8
            controller.move_leader("leaderless", 0, leader_id=1)
            await producer.flush()
            await (await producer.send("leaderless", b"room again"))
        assert len(await stored(address, "leaderless")) == queued + 1


async def test_send_cancelled_wherever_it_waits_has_queued_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with leaderless_topic(tmp_path, monkeypatch) as (controller, address):
        async with Producer(address, buffer_bytes=4_000, batch_bytes_max=2_000) as producer:
            first = producer.send("leaderless", b"never")
            while (waits_for := first.send(None)) is None:  # its turn; then for metadata
                continue
            assert waits_for.done() is False
            waits_for.cancel()
            with pytest.raises(asyncio.CancelledError):
                first.throw(asyncio.CancelledError())
            _ = await producer.send_many("leaderless", [b"x" * 1_000] * 3)
            blocked = producer.send("leaderless", b"never" * 300)
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(_awaited(blocked), name="blocked")
                for _ in range(5):
                    await asyncio.sleep(0)
                assert not waiting.done()
                waiting.cancel()
            controller.move_leader("leaderless", 0, leader_id=1)
            await producer.flush()
        assert await stored(address, "leaderless") == [b"x" * 1_000] * 3


async def _awaited(sending: Coroutine[Any, Any, Any]) -> None:
    _ = await sending


async def test_leaving_by_an_exception_waits_for_nothing_and_keeps_the_exception(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with leaderless_topic(tmp_path, monkeypatch) as (_, address):
        with pytest.raises(KeyError, match="mine") as caught:
            async with Producer(address) as producer:
                delivery = await producer.send("leaderless", b"v")
                raise KeyError("mine")
        assert "lost records" in caught.value.__notes__[0]
        assert "1 records not acknowledged" in caplog.text
        with pytest.raises(OttlaError) as failed:
            await delivery
        assert failed.value.reason == "PRODUCER_CLOSED"


class Stamping:
    """An interceptor that marks records and counts batches."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int, int | None]] = []

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        return record._replace(headers=(*record.headers, ("by", b"me")))

    def on_done(self, topic: str, partition: int, *, first: Any, error: Any) -> None:
        self.done.append((topic, partition, first.offset))


async def test_serializers_and_interceptors_work_end_to_end() -> None:
    stamping = Stamping()
    async with small_topics() as cluster:
        async with Producer(
            cluster.bootstrap,
            key_serializer=str.encode,
            value_serializer=lambda value: str(value).encode(),
            interceptors=[stamping],
        ) as producer:
            await (await producer.send_many("single", [("a", 1), ("b", 2)]))
        async with Consumer(
            cluster.bootstrap,
            key_deserializer=bytes.decode,
            value_deserializer=int,
            auto_offset_reset="earliest",
        ) as consumer:
            await consumer.assign(["single"])
            records = [await anext(consumer), await anext(consumer)]
        assert [(each.key, each.value) for each in records] == [("a", 1), ("b", 2)]
        assert records[0].headers == (("by", b"me"),)
        assert stamping.done[0] == ("single", 0, 0)


class Failing:
    """Callbacks of an application that is wrong in all of them."""

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        return record

    def on_done(self, topic: str, partition: int, *, first: Any, error: Any) -> None:
        raise LookupError("on_done")

    def partition(self, topic: str, **_: object) -> int:
        return 0

    def batch_sealed(self, topic: str, partition: int) -> None:
        raise LookupError("batch_sealed")

    def on_error(self, error: OttlaError) -> None:
        raise LookupError("on_error")


async def test_callbacks_that_fail_cost_no_record(caplog: pytest.LogCaptureFixture) -> None:
    failing = Failing()
    async with small_topics() as cluster:
        async with Producer(
            cluster.bootstrap,
            interceptors=[failing],
            partitioner=failing,
            on_error=failing.on_error,
        ) as producer:
            _ = await producer.send("small", b"x" * 2_000)
            with pytest.raises(RecordTooLarge):
                await producer.flush()
            receipts = [await (await producer.send("single", b"%d" % each)) for each in range(3)]
        assert [receipt.offset for receipt in receipts] == [0, 1, 2]
        for name in ("batch_sealed", "on_done", "on_error"):
            assert f"the application's {name} failed" in caplog.text


async def test_an_admin_creates_lists_and_deletes() -> None:
    async with small_topics() as cluster, Admin(cluster.bootstrap) as admin:
        created = await admin.create_topic("new", partition_count=3, configs={"retention.ms": "1"})
        assert (created.name, len(created.topic_id)) == ("new", 16)
        with pytest.raises(TopicExists):
            await admin.create_topic("new")
        async with Producer(cluster.bootstrap) as producer:
            receipt = await (await producer.send("new", b"v", partition=2))
        assert receipt.partition == 2
        names = [listing.name for listing in await admin.list_topics()]
        assert names == ["new", "single", "small", "spare"]
        await admin.delete_topic("new")
        (missing,) = await admin.delete_topics(["new"])
        assert isinstance(missing.error, UnknownTopicOrPartition)


async def test_a_producer_with_a_defect_of_its_own_takes_nothing_more() -> None:
    async def fail() -> None:
        raise LookupError("ours")

    async with small_topics() as cluster, Producer(cluster.bootstrap) as producer:
        await (await producer.send("single", b"before"))
        producer._sending.start(fail(), name="defect")
        await asyncio.sleep(0)
        for _ in range(2):
            with pytest.raises(OttlaError, match="failed unexpectedly: ours") as refused:
                _ = await producer.send("single", b"after")
            assert refused.value.reason == "INTERNAL"
        assert await stored(cluster.bootstrap, "single") == [b"before"]
