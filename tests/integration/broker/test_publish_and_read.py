"""Records in by Publish, out by Read in both formats, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.requests import (
    BATCHES,
    EARLIEST,
    collected,
    failure,
    from_offset,
    publish,
    read,
    records_of,
    rest_of,
)
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker

from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import (
    NotLeader,
    OffsetOutOfRange,
    UnknownTopicOrPartition,
)
from ottla.protocol.partitioner import partition_for_key

Start = fetch_pb2.ReadStart
Until = fetch_pb2.ReadUntil


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    async with fake_controller() as running:
        yield running


@pytest.fixture
async def broker(tmp_path: Path, controller: FakeController) -> AsyncIterator[RunningBroker]:
    async with running_broker(tmp_path / "1", controller) as running:
        yield running


@pytest.mark.parametrize("read_format", [fetch_pb2.READ_FORMAT_RECORDS, BATCHES])
async def test_what_was_published_is_read_back(broker: RunningBroker, read_format: int) -> None:
    await broker.create_topic("flights")
    header = record_pb2.Header(key="source", value=b"faa")
    records = [
        record_pb2.PlainRecord(key=b"UA", value=b"one", timestamp_ms=1_700_000_000_000),
        record_pb2.PlainRecord(key=b"", value=b"", headers=[header, header]),
        record_pb2.PlainRecord(key=b"gone"),
    ]
    request = produce_pb2.PublishRequest(topic="flights", records=records)
    response = await broker.produce.Publish(request, timeout=10)
    assert [(each.partition, each.offset) for each in response.results] == [(0, 0), (0, 1), (0, 2)]
    assert response.results[0].timestamp_ms == 1_700_000_000_000
    messages = await collected(broker.fetch.Read(read("flights", format=read_format)))
    found = records_of(messages)
    for place, record in enumerate(records):
        record.offset = place
        record.timestamp_ms = response.results[place].timestamp_ms
    assert found == records
    last = messages[-1]
    assert (last.high_watermark, last.next_offset, last.log_start_offset) == (3, 3, 0)
    assert (last.last_stable_offset, last.leader_epoch) == (3, 1)


async def test_keyed_records_go_to_the_partitions_of_their_hash(broker: RunningBroker) -> None:
    await broker.create_topic("keyed", partition_count=4)
    keys = [b"UA", b"AA", b"DL", b"WN", b"B6", b"UA"]
    records = [record_pb2.PlainRecord(key=key, value=key) for key in keys]
    request = produce_pb2.PublishRequest(topic="keyed", records=records)
    response = await broker.produce.Publish(request, timeout=10)
    assert [each.partition for each in response.results] == [
        partition_for_key(key, 4) for key in keys
    ]
    for number in range(4):
        messages = await collected(broker.fetch.Read(read("keyed", partition=number)))
        assert [each.key for each in records_of(messages)] == [
            key for key in keys if partition_for_key(key, 4) == number
        ]


@pytest.mark.parametrize(
    ("acks", "offsets"),
    [(produce_pb2.ACKS_ALL, [0]), (produce_pb2.ACKS_LEADER, [0]), (produce_pb2.ACKS_NONE, [None])],
)
async def test_every_kind_of_acknowledgement(
    broker: RunningBroker, acks: int, offsets: list[int | None]
) -> None:
    await broker.create_topic("acks")
    response = await broker.produce.Publish(publish("acks", b"x", acks=acks), timeout=10)
    shown = [each.offset if each.HasField("offset") else None for each in response.results]
    assert shown == offsets
    assert not any(each.HasField("error") for each in response.results)
    until = Until(offset=1)
    messages = await collected(broker.fetch.Read(read("acks", until=until), timeout=10))
    assert [each.value for each in records_of(messages)] == [b"x"]


async def test_reads_begin_and_end_where_they_are_told(broker: RunningBroker) -> None:
    await broker.create_topic("places")
    for place in range(10):
        record = record_pb2.PlainRecord(value=b"%d" % place, timestamp_ms=1_000 * (place + 1))
        request = produce_pb2.PublishRequest(topic="places", records=[record])
        await broker.produce.Publish(request, timeout=10)

    async def offsets(**fields: object) -> list[int]:
        call = broker.fetch.Read(read("places", **fields), timeout=10)
        return [each.offset for each in records_of(await collected(call))]

    assert await offsets(start=from_offset(7)) == [7, 8, 9]
    assert await offsets(start=Start(timestamp_ms=3_500)) == [3, 4, 5, 6, 7, 8, 9]
    assert await offsets(start=Start(timestamp_ms=99_000)) == []
    assert await offsets(start=Start(last_count=2)) == [8, 9]
    assert await offsets(start=Start(last_count=2**64 - 1)) == list(range(10))
    assert await offsets(start=Start()) == []
    assert await offsets(until=Until(offset=4)) == [0, 1, 2, 3]
    assert await offsets(start=from_offset(6), until=Until(offset=4)) == []
    for read_format in (fetch_pb2.READ_FORMAT_RECORDS, BATCHES):
        assert await offsets(max_records=3, format=read_format) == [0, 1, 2]
        assert await offsets(max_bytes=1, format=read_format) == [0]


async def test_a_following_read_gets_records_as_they_come_and_signs_of_life_between(
    broker: RunningBroker,
) -> None:
    await broker.create_topic("live")
    request = fetch_pb2.ReadRequest(topic="live", start=EARLIEST, format=BATCHES)
    call = broker.fetch.Read(request)
    first = await call.read()
    assert (first.next_offset, first.high_watermark, len(first.batches)) == (0, 0, 0)
    idle = await call.read()
    assert (idle.next_offset, len(idle.batches)) == (0, 0)
    await broker.produce.Publish(publish("live", b"news"), timeout=10)
    message = await call.read()
    while not message.batches:
        message = await call.read()
    assert [each.value for each in records_of([message])] == [b"news"]
    assert message.next_offset == 1
    call.cancel()


async def test_a_slow_reader_in_both_formats_gets_a_large_log_whole(broker: RunningBroker) -> None:
    await broker.create_topic("large")
    for number in range(24):
        values = [b"%02d" % number + b"." * 99_998] * 10
        await broker.produce.Publish(publish("large", *values), timeout=10)
    for read_format in (fetch_pb2.READ_FORMAT_RECORDS, BATCHES):
        messages = []
        async for message in broker.fetch.Read(read("large", format=read_format), timeout=30):
            messages.append(message)
            await asyncio.sleep(0)
        found = records_of(messages)
        assert [each.offset for each in found] == list(range(240))
        assert [each.value[:2] for each in found[::10]] == [b"%02d" % each for each in range(24)]
        assert max(message.ByteSize() for message in messages) <= (1 << 20) + 200


async def test_an_offset_outside_of_the_log_names_the_ends(broker: RunningBroker) -> None:
    await broker.create_topic("short")
    await broker.produce.Publish(publish("short", b"one"), timeout=10)
    for until in (Until(), Until(high_watermark_at_start=fetch_pb2.HighWatermarkAtStart())):
        request = read("short", start=from_offset(5), until=until)
        error = await failure(collected(broker.fetch.Read(request, timeout=10)))
        assert isinstance(error, OffsetOutOfRange)
        assert error.metadata["earliest_offset"] == "0"
        assert error.metadata["latest_offset"] == "1"
        assert (error.topic, error.partition) == ("short", 0)


async def test_a_read_ends_with_its_reason_when_the_topic_is_deleted(
    broker: RunningBroker,
) -> None:
    await broker.create_topic("doomed")
    call = broker.fetch.Read(read("doomed", until=Until()))
    await call.read()
    broker.controller.delete_topic("doomed")
    error = await failure(rest_of(call))
    assert isinstance(error, UnknownTopicOrPartition)


async def test_a_read_ends_naming_the_new_leader_when_leadership_moves(
    broker: RunningBroker,
) -> None:
    broker.controller.add_broker(2, host="other", port=2222)
    await broker.create_topic("moving", leader_id=1, replicas=[1, 2])
    call = broker.fetch.Read(read("moving", until=Until()))
    await call.read()
    broker.controller.move_leader("moving", 0, leader_id=2)
    error = await failure(rest_of(call))
    assert isinstance(error, NotLeader)
    assert error.metadata["leader_id"] == "2"
    assert error.metadata["leader_host"] == "other"
    assert error.metadata["leader_port"] == "2222"
    assert error.metadata["leader_epoch"] == "2"


async def test_a_topic_deleted_and_created_again_is_another(broker: RunningBroker) -> None:
    old_id = await broker.create_topic("again")
    await broker.produce.Publish(publish("again", b"old"), timeout=10)
    broker.controller.delete_topic("again")
    await broker.create_topic("again")
    error = await failure(broker.produce.Publish(publish("again", b"x", topic_id=old_id)))
    assert isinstance(error, UnknownTopicOrPartition)
    request = read("again", topic_id=old_id)
    assert isinstance(await failure(collected(broker.fetch.Read(request))), UnknownTopicOrPartition)
    response = await broker.produce.Publish(publish("again", b"new"), timeout=10)
    assert [(each.offset, each.error.message) for each in response.results] == [(0, "")]
    messages = await collected(broker.fetch.Read(read("again"), timeout=10))
    assert [each.value for each in records_of(messages)] == [b"new"]


async def test_list_offsets_answers_every_query_by_itself(broker: RunningBroker) -> None:
    await broker.create_topic("offsets")
    for time_ms in (1_000, 5_000, 3_000):
        record = record_pb2.PlainRecord(value=b"v", timestamp_ms=time_ms)
        request = produce_pb2.PublishRequest(topic="offsets", records=[record])
        await broker.produce.Publish(request, timeout=10)
    query = fetch_pb2.OffsetQuery
    queries = [
        query(topic="offsets", position=fetch_pb2.OFFSET_POSITION_EARLIEST),
        query(topic="offsets", position=fetch_pb2.OFFSET_POSITION_LATEST),
        query(topic="offsets", position=fetch_pb2.OFFSET_POSITION_MAX_TIMESTAMP),
        query(topic="offsets", timestamp_ms=2_000),
        query(topic="offsets", timestamp_ms=9_000),
        query(topic="offsets", last_count=2),
        query(topic="offsets"),
        query(topic="offsets", partition=9, last_count=0),
        query(topic="nowhere", last_count=0),
        query(topic="offsets", position=fetch_pb2.OFFSET_POSITION_UNSPECIFIED),
    ]
    asked = fetch_pb2.ListOffsetsRequest(queries=queries)
    response = await broker.fetch.ListOffsets(asked, timeout=10)
    shown = [
        from_proto(each.error).reason
        if each.HasField("error")
        else (each.offset if each.HasField("offset") else None)
        for each in response.results
    ]
    missing = "UNKNOWN_TOPIC_OR_PARTITION"
    unsaid = "INVALID_REQUEST"
    assert shown == [0, 3, 1, 1, None, 1, unsaid, missing, missing, unsaid]
    assert response.results[2].timestamp_ms == 5_000
    assert response.results[2].leader_epoch == 1


async def test_a_topic_is_created_by_publishing_only_where_that_is_on(
    tmp_path: Path, controller: FakeController
) -> None:
    async with running_broker(tmp_path / "off", controller) as broker:
        error = await failure(broker.produce.Publish(publish("new", b"x"), timeout=10))
        assert isinstance(error, UnknownTopicOrPartition)
    async with running_broker(
        tmp_path / "on", controller, auto_create_topics_enable=True
    ) as broker:
        error = await failure(collected(broker.fetch.Read(read("new"), timeout=10)))
        assert isinstance(error, UnknownTopicOrPartition)
        async with asyncio.TaskGroup() as group:
            calls = [
                group.create_task(_published(broker, b"%d" % number), name=f"publish-{number}")
                for number in range(20)
            ]
        assert sorted(task.result() for task in calls) == list(range(20))
        assert len(controller.principals) == 1


async def _published(broker: RunningBroker, value: bytes) -> int:
    response = await broker.produce.Publish(publish("new", value), timeout=10)
    offset: int = response.results[0].offset
    return offset


async def test_any_broker_passes_calls_on_to_the_leader(
    tmp_path: Path, controller: FakeController
) -> None:
    async with (
        running_broker(tmp_path / "1", controller) as first,
        running_broker(tmp_path / "2", controller, node_id=2) as second,
    ):
        await first.create_topic("far", leader_id=2)
        response = await first.produce.Publish(publish("far", b"a", b"b"), timeout=10)
        assert [each.offset for each in response.results] == [0, 1]
        for broker in (first, second):
            messages = await collected(broker.fetch.Read(read("far"), timeout=10))
            assert [each.value for each in records_of(messages)] == [b"a", b"b"]
        queries = [fetch_pb2.OffsetQuery(topic="far", position=fetch_pb2.OFFSET_POSITION_LATEST)]
        request = fetch_pb2.ListOffsetsRequest(queries=queries)
        offsets = await first.fetch.ListOffsets(request, timeout=10)
        assert [each.offset for each in offsets.results] == [2]
        passed_on = (("ottla-forwarded-by", "9"),)
        error = await failure(
            collected(first.fetch.Read(read("far"), metadata=passed_on, timeout=10))
        )
        assert isinstance(error, NotLeader)
        assert error.metadata["leader_port"] == str(second.port)
        error = await failure(
            collected(first.fetch.Read(read("far", start=from_offset(7)), timeout=10))
        )
        assert isinstance(error, OffsetOutOfRange)


async def test_a_leader_that_cannot_be_reached_fails_its_partitions_alone(
    broker: RunningBroker, unused_tcp_port: int
) -> None:
    broker.controller.add_broker(2, host="127.0.0.1", port=unused_tcp_port)
    await broker.create_topic("split", partition_count=2)
    broker.controller.move_leader("split", 1, leader_id=2)
    await broker.caught_up()
    here = await broker.produce.Publish(publish("split", b"x", partition=0), timeout=10)
    assert here.results[0].offset == 0
    reasons = set()
    for _ in range(3):
        away = await broker.produce.Publish(publish("split", b"x", partition=1), timeout=10)
        reasons.add(from_proto(away.results[0].error).reason)
    assert reasons <= {"OUTCOME_UNKNOWN", "LEADER_NOT_AVAILABLE"}
