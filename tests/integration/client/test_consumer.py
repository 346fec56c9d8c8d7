"""A consumer against a real broker: every record once, in order, from where it was told."""

from __future__ import annotations

import asyncio
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from integration.client.arrangement import two_topics
from integration.client.streaming_broker import cluster

from ottla.client.consumer import Consumer
from ottla.client.core.positions import TopicPartition
from ottla.client.core.record_columns import ConsumerRecord
from ottla.client.producer import Producer
from ottla.protocol.errors import InvalidRequest, OffsetOutOfRange, UnknownTopicOrPartition


async def produce(bootstrap: str, topic: str, values: list[bytes], **options: str) -> None:
    async with Producer(bootstrap, compression=options.get("compression", "none")) as sender:
        _ = await sender.send_many(topic, values)


async def values_of(consumer: Consumer[bytes, bytes], count: int) -> list[bytes | None]:
    return [(await anext(consumer)).value for _ in range(count)]


@pytest.mark.parametrize("compression", ["none", "lz4", "zstd"])
async def test_everything_sent_is_consumed_once_in_order(compression: str) -> None:
    values = [b"%06d" % number + b"x" * 90 for number in range(12_000)]
    async with two_topics() as cluster:
        await produce(cluster.bootstrap, "single", values, compression=compression)
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single"])
            assert await values_of(consumer, 6_000) == values[:6_000]
            assert await consumer.position(("single", 0)) == 6_000
            taken: list[bytes | None] = []
            async for batch in consumer.batches(max_records=1_000):
                assert len(batch) <= 1_000
                taken += [record.value for record in batch]
                if len(taken) == 6_000:
                    break
            assert taken == values[6_000:]


async def test_records_come_as_they_are_produced_with_all_their_parts() -> None:
    async with (
        two_topics() as cluster,
        Consumer(cluster.bootstrap, auto_offset_reset="latest") as consumer,
        Producer(cluster.bootstrap) as producer,
    ):
        await consumer.assign([("single", 0)])
        assert await consumer.position(("single", 0)) == 0
        headers = [("a", b"1"), ("a", None), ("b", b"")]
        time_ms = 1_700_000_000_000
        _ = await producer.send("single", b"", key=b"", headers=headers, timestamp_ms=time_ms)
        _ = await producer.send("single", None, key=b"gone")
        first, second = await anext(consumer), await anext(consumer)
        assert first[:6] == ("single", 0, 0, time_ms, b"", b"")
        assert first.headers == tuple(headers)
        assert (second.offset, second.key, second.value) == (1, b"gone", None)


async def test_where_leaders_set_the_time_receipts_and_records_show_it() -> None:
    async with two_topics() as cluster:
        configs = {"message.timestamp.type": "LogAppendTime"}
        await cluster.create_topic("stamped", configs=configs)
        before_ms = time.time_ns() // 1_000_000
        async with Producer(cluster.bootstrap) as producer:
            sent = await producer.send_many("stamped", [b"a", b"b"], timestamp_ms=7)
            receipts = await sent
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["stamped"])
            records = [await anext(consumer), await anext(consumer)]
    times_ms = [receipt.timestamp_ms for receipt in receipts]
    assert [record.timestamp_ms for record in records] == times_ms
    assert all(before_ms <= each <= before_ms + 60_000 for each in times_ms)


async def test_small_credit_still_brings_everything() -> None:
    values = [b"%06d" % number + b"x" * 194 for number in range(9_000)]
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            for partition in range(3):
                _ = await producer.send_many("flights", values, partition=partition)
        async with Consumer(
            cluster.bootstrap,
            auto_offset_reset="earliest",
            fetch_buffer_bytes=20_000,
            fetch_message_bytes=4_000,
        ) as consumer:
            await consumer.assign(["flights"])
            found: dict[int, list[bytes | None]] = {0: [], 1: [], 2: []}
            while sum(map(len, found.values())) < 27_000:
                for record in await consumer.next_batch():
                    found[record.partition].append(record.value)
    assert found == {0: values, 1: values, 2: values}


async def test_seeking_goes_wherever_it_is_told() -> None:
    place = TopicPartition("single", 0)
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            for number in range(10):
                sent = await producer.send(
                    "single", b"%d" % number, timestamp_ms=1_000_000 + number
                )
                await sent
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single"])
            assert await values_of(consumer, 2) == [b"0", b"1"]
            consumer.seek(place, 7)
            assert await values_of(consumer, 3) == [b"7", b"8", b"9"]
            consumer.seek_to_time(1_000_004)
            assert await values_of(consumer, 1) == [b"4"]
            consumer.seek_to_last(2, place)
            assert await values_of(consumer, 2) == [b"8", b"9"]
            consumer.seek_to_beginning()
            assert await values_of(consumer, 1) == [b"0"]
            consumer.seek_to_end()
            assert await consumer.position(place) == 10
            assert await consumer.beginning_offsets([place]) == {place: 0}
            assert await consumer.end_offsets([place]) == {place: 10}
            found = await consumer.offsets_for_times({place: 1_000_009})
            assert found[place] == (9, 1_000_009)


async def test_paused_partitions_hold_nothing_and_go_on_where_they_were() -> None:
    values = [b"%d" % number for number in range(100)]
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            for partition in (0, 1):
                _ = await producer.send_many("flights", values, partition=partition)
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign([("flights", 0)])
            assert await values_of(consumer, 40) == values[:40]
            consumer.pause(("flights", 0))
            await consumer.assign([("flights", 0), ("flights", 1)])
            assert await values_of(consumer, 100) == values
            assert consumer.paused() == [("flights", 0)]
            consumer.resume()
            assert await values_of(consumer, 60) == values[40:]


async def test_an_offset_out_of_range_follows_the_policy() -> None:
    place = TopicPartition("single", 0)
    async with two_topics() as cluster:
        await produce(cluster.bootstrap, "single", [b"a", b"b"])
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign({place: 99})
            assert await values_of(consumer, 2) == [b"a", b"b"]
        async with Consumer(cluster.bootstrap, auto_offset_reset="error") as consumer:
            with pytest.raises(InvalidRequest):
                await consumer.assign([place])
            await consumer.assign({place: 99})
            with pytest.raises(OffsetOutOfRange) as caught:
                await anext(consumer)
            assert caught.value.metadata["latest_offset"] == "2"
            consumer.seek(place, 1)
            assert await values_of(consumer, 1) == [b"b"]


async def test_what_does_not_exist_cannot_be_assigned() -> None:
    async with (
        two_topics() as cluster,
        Consumer(cluster.bootstrap) as consumer,
    ):
        with pytest.raises(UnknownTopicOrPartition):
            await consumer.assign([("single", 1)])
        with pytest.raises(InvalidRequest):
            consumer.seek(("single", 0), 1)


@pytest.mark.parametrize(
    "partitions", ["single", [b"single"], [("single", "0")], [("single", 0, 1)], [5], [None]]
)
async def test_what_is_no_partition_is_refused_by_name(partitions: Any) -> None:
    async with two_topics() as cluster, Consumer(cluster.bootstrap) as consumer:
        with pytest.raises(InvalidRequest, match=r"assign\(\[|neither a topic"):
            await consumer.assign(partitions)


@pytest.mark.parametrize("in_batches", [False, True])
async def test_tasks_that_read_at_the_same_time_share_the_records(in_batches: bool) -> None:
    values = [b"%d" % number for number in range(900)]
    read: list[int] = []
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap, batch_bytes_max=4_000) as producer:
            _ = await producer.send_many("single", values)
        async with (
            Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer,
            asyncio.timeout(20),
        ):
            is_over = asyncio.Event()

            async def read_on() -> None:
                while True:
                    records = await (
                        consumer.next_batch(max_records=7) if in_batches else _one(consumer)
                    )
                    read.extend(record.offset for record in records)
                    if len(read) >= len(values):
                        is_over.set()
                    await asyncio.sleep(0)

            await consumer.assign(["single"])
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(read_on(), name="reader") for _ in range(3)]
                await is_over.wait()
                for task in tasks:
                    task.cancel()
    assert sorted(read) == list(range(900))


async def _one(consumer: Consumer[bytes, bytes]) -> list[ConsumerRecord[bytes, bytes]]:
    return [await anext(consumer)]


async def test_who_waits_is_handed_what_another_task_leaves() -> None:
    async with two_topics() as cluster:
        async with (
            Consumer(cluster.bootstrap) as consumer,
            Producer(cluster.bootstrap) as producer,
            asyncio.timeout(20),
        ):
            await consumer.assign(["single"])
            await consumer.position(("single", 0))
            async with asyncio.TaskGroup() as group:
                first = group.create_task(_one(consumer), name="first")
                second = group.create_task(_one(consumer), name="second")
                _ = await producer.send_many("single", [b"a", b"b"])
            values = [record.value for task in (first, second) for record in task.result()]
    assert sorted(values, key=str) == [b"a", b"b"]


async def test_a_record_that_cannot_be_deserialized_is_told_of_and_read_past() -> None:
    found: list[object] = []
    async with two_topics() as cluster:
        await produce(cluster.bootstrap, "single", [b"0", b"1", b"two", b"3"])
        async with Consumer(
            cluster.bootstrap,
            key_deserializer=bytes.decode,
            value_deserializer=int,
            auto_offset_reset="earliest",
        ) as consumer:
            await consumer.assign(["single"])
            while len(found) < 4:
                try:
                    found.append((await anext(consumer)).value)
                except InvalidRequest as error:
                    found.append(error.metadata["offset"])
                    assert await consumer.position(("single", 0)) == 3
    assert found == [0, 1, "2", 3]


async def test_a_cancelled_batch_loses_no_record() -> None:
    values = [b"%d" % number for number in range(50)]
    async with two_topics() as cluster:
        await produce(cluster.bootstrap, "single", values)
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single"])
            await consumer.position(("single", 0))
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await consumer.next_batch(max_records=60, max_wait_ms=60_000)
            batch = await consumer.next_batch(max_records=60)
            assert [record.value for record in batch] == values
            assert all(b.offset == a.offset + 1 for a, b in pairwise(batch))


async def test_a_batch_that_waits_for_more_holds_nothing_from_before_a_seek() -> None:
    values = [b"%d" % number for number in range(50)]
    async with two_topics() as cluster:
        await produce(cluster.bootstrap, "single", values)
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single"])
            await consumer.position(("single", 0))
            async with asyncio.TaskGroup() as group:
                reading = group.create_task(consumer.next_batch(max_records=60, max_wait_ms=60_000))
                await asyncio.wait([reading], timeout=0.2)
                assert await consumer.position(("single", 0)) == 50
                consumer.seek(("single", 0), 45)
                await produce(cluster.bootstrap, "single", [b"more"] * 55)
            offsets = [record.offset for record in reading.result()]
            assert offsets == list(range(45, 105))


async def test_a_consumer_goes_on_after_the_leader_moved_away_and_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = [b"%d" % number for number in range(20)]
    async with cluster(tmp_path, monkeypatch) as broker:
        broker.controller.create_topic("single")
        address = f"127.0.0.1:{broker.port}"
        async with (
            Consumer(address, auto_offset_reset="earliest") as consumer,
            Producer(address) as producer,
        ):
            await consumer.assign(["single"])
            _ = await producer.send_many("single", values[:10])
            assert await values_of(consumer, 10) == values[:10]
            broker.controller.move_leader("single", 0, leader_id=None)
            deliveries = await producer.send_many("single", values[10:])
            broker.controller.move_leader("single", 0, leader_id=1)
            assert len(await deliveries) == 10
            assert await values_of(consumer, 10) == values[10:]
