"""A cluster operated while it runs: grown, set, shortened, looked into, and moved to another."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest
from integration.walk.processes import Cluster, ServiceProcess, running_cluster

import ottla
from ottla.protocol.errors import (
    InvalidConfig,
    InvalidRequest,
    LeaderNotAvailable,
    OffsetOutOfRange,
    OttlaError,
    OutcomeUnknown,
    RecordTooLarge,
    UnknownTopicOrPartition,
    VersionConflict,
)

pytestmark = pytest.mark.slow

RETENTION_CHECK_MS = 200
TOPIC = "flights"


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(
        tmp_path, broker=(f"--log-retention-check-interval-ms={RETENTION_CHECK_MS}",)
    ) as running:
        yield running


@pytest.fixture
async def admin(cluster: Cluster) -> AsyncIterator[ottla.Admin]:
    async with ottla.Admin(f"127.0.0.1:{cluster.broker.port}") as client:
        yield client


async def sent(cluster: Cluster, *values: bytes, partition: int | None = None) -> int:
    """Publish; returns the offset of the last. Raises what became of it."""
    async with ottla.Producer(f"127.0.0.1:{cluster.broker.port}", retries=0) as producer:
        deliveries = [await producer.send(TOPIC, each, partition=partition) for each in values]
        offset = [await each for each in deliveries][-1].offset
        assert offset is not None
        return offset


async def held(cluster: Cluster, partition: int = 0) -> list[tuple[int, bytes | None]]:
    """Offsets and values of a partition, from its beginning to its end."""
    found: list[tuple[int, bytes | None]] = []
    async with ottla.Consumer(
        f"127.0.0.1:{cluster.broker.port}", auto_offset_reset="earliest"
    ) as consumer:
        here = ottla.TopicPartition(TOPIC, partition)
        await consumer.assign([here])
        (end,) = (await consumer.end_offsets([here])).values()
        (begin,) = (await consumer.beginning_offsets([here])).values()
        while len(found) < end - begin:
            record = await anext(consumer)
            found.append((record.offset, record.value))
    return found


async def test_a_topic_grows_and_takes_records_in_its_new_partitions_at_once(
    cluster: Cluster, admin: ottla.Admin
) -> None:
    await admin.create_topic(TOPIC, partition_count=1)
    await sent(cluster, b"before", partition=0)
    (checked,) = await admin.create_partitions({TOPIC: 3}, validate_only=True)
    assert (checked.partition_count, checked.error) == (3, None)
    (grown,) = await admin.create_partitions({TOPIC: 3})
    assert (grown.partition_count, grown.error) == (3, None)
    for partition in (1, 2):
        assert await sent(cluster, b"after", partition=partition) == 0
    (described,) = await admin.describe_topics([TOPIC])
    assert [each.leader for each in described.partitions] == [1, 1, 1]
    assert await held(cluster) == [(0, b"before")]
    fewer, missing = await admin.create_partitions({TOPIC: 2, "missing": 2})
    assert isinstance(fewer.error, InvalidRequest)
    assert isinstance(missing.error, UnknownTopicOrPartition)
    stale = ottla.NewPartitions(TOPIC, 4, expected_version=described.version + 7)
    (refused,) = await admin.create_partitions([stale])
    assert isinstance(refused.error, VersionConflict)


@pytest.mark.parametrize(("kind", "name"), [("topic", TOPIC), ("broker", "1"), ("cluster", "")])
async def test_a_smaller_bound_for_messages_holds_without_a_restart(
    cluster: Cluster, admin: ottla.Admin, kind: str, name: str
) -> None:
    await admin.create_topic(TOPIC)
    assert await sent(cluster, b"x" * 5_000) == 0
    await admin.alter_config(kind, name, values={"max.message.bytes": "2000"})
    with pytest.raises(RecordTooLarge):
        await sent(cluster, b"x" * 5_000)
    assert await sent(cluster, b"small") == 1
    await admin.alter_config(kind, name, values={"max.message.bytes": None})
    assert await sent(cluster, b"x" * 5_000) == 2


async def test_a_shorter_retention_removes_old_records_without_a_restart(
    cluster: Cluster, admin: ottla.Admin
) -> None:
    await admin.create_topic(TOPIC)
    await sent(cluster, b"old", b"older")
    await admin.alter_config("topic", TOPIC, values={"retention.ms": "1"})
    async with ottla.Consumer(f"127.0.0.1:{cluster.broker.port}") as consumer:
        here = ottla.TopicPartition(TOPIC, 0)
        while (await consumer.beginning_offsets([here]))[here] < 2:
            continue  # bounded by the test's time-out
    (directory,) = await admin.describe_log_directories()
    assert directory.is_online
    await admin.alter_config("topic", TOPIC, values={"retention.ms": None})
    assert await sent(cluster, b"new") == 2


async def test_levels_of_the_log_change_without_a_restart(
    cluster: Cluster, admin: ottla.Admin
) -> None:
    await admin.alter_config("broker", "1", values={"access.log": "all"})
    await admin.list_topics()
    log = await asyncio.to_thread(cluster.broker.log_text)
    assert "ListTopics" in log


def sources(result: object) -> Mapping[str, list[tuple[str, str]]]:
    """Values and sources of each setting, the strongest first."""
    return {
        each.name: [
            (each.value, each.source),
            *((one.value, one.source) for one in each.synonyms),
        ]
        for each in getattr(result, "entries", ())
    }


async def test_settings_say_where_they_come_from_and_what_they_would_be_without(
    cluster: Cluster, admin: ottla.Admin
) -> None:
    name, week = "retention.ms", str(7 * 86_400_000)
    await admin.create_topic(TOPIC, configs={name: "4"})
    await admin.alter_config("cluster", values={name: "2"})
    await admin.alter_config("broker", "1", values={name: "3"})
    topic = await admin.describe_config("topic", TOPIC, names=[name])
    assert sources(topic)[name][0] == ("4", "topic")
    broker = await admin.describe_config("broker", "1")
    assert sources(broker)[name] == [("3", "broker"), ("2", "cluster"), (week, "default")]
    static = sources(broker)
    assert static["node.id"] == [("1", "static")]
    assert static["log.retention.check.interval.ms"][0] == (str(RETENTION_CHECK_MS), "static")
    assert static["access.log"] == [("failed", "static"), ("all", "default")]
    assert static["rack"] == [("", "default")]
    whole = await admin.describe_config("cluster", names=[name])
    assert sources(whole)[name] == [("2", "cluster"), (week, "default")]
    assert [each.is_dynamic for each in whole.entries] == [True]
    results = await admin.describe_configs(
        [ottla.ConfigResource("broker", "1"), ottla.ConfigResource("topic", "missing")],
        names=[name],
    )
    assert [each.kind for each in results] == ["broker", "topic"]
    assert isinstance(results[1].error, UnknownTopicOrPartition)


async def test_settings_of_several_are_altered_each_all_or_none(
    cluster: Cluster, admin: ottla.Admin
) -> None:
    await admin.create_topic(TOPIC)
    before = await admin.describe_config("topic", TOPIC)
    good = {"retention.ms": "5", "segment.ms": "9"}
    results = await admin.alter_configs(
        [
            ottla.ConfigChange(ottla.ConfigResource("cluster"), {"segment.ms": "11"}),
            ottla.ConfigChange(ottla.ConfigResource("topic", TOPIC), {**good, "nonsense": "1"}),
        ]
    )
    assert results[0].error is None
    assert isinstance(results[1].error, InvalidConfig)
    assert sources(await admin.describe_config("topic", TOPIC))["segment.ms"][0] == (
        "11",
        "cluster",
    )
    await admin.alter_config("topic", TOPIC, values=good, expected_version=before.version)
    with pytest.raises(VersionConflict):
        await admin.alter_config("topic", TOPIC, values=good, expected_version=before.version)
    await admin.alter_config("topic", TOPIC, values={"retention.ms": "7"}, validate_only=True)
    with pytest.raises(InvalidConfig):
        await admin.alter_config("topic", TOPIC, append={"retention.ms": "7"})
    assert (await admin.describe_config("topic", TOPIC))["retention.ms"] == "5"


async def test_deleted_records_stay_deleted_over_a_crash(
    cluster: Cluster, admin: ottla.Admin
) -> None:
    await admin.create_topic(TOPIC, partition_count=2)
    await sent(cluster, *[b"%d" % number for number in range(6)], partition=0)
    results = await admin.delete_records({(TOPIC, 0): 4, (TOPIC, 1): 1, ("missing", 0): 0})
    assert [each.log_start_offset for each in results] == [4, 0, 0]
    assert [type(each.error) for each in results] == [
        type(None),
        OffsetOutOfRange,
        UnknownTopicOrPartition,
    ]
    await cluster.broker.kill()
    await cluster.start_broker()
    assert await held(cluster) == [(4, b"4"), (5, b"5")]
    (directory,) = await admin.describe_log_directories([1])
    starts = {
        each.partition: (each.log_start_offset, each.log_end_offset) for each in directory.replicas
    }
    assert starts == {0: (4, 6), 1: (0, 0)}
    (all_of_it,) = await admin.delete_records({(TOPIC, 0): -1})
    assert all_of_it.log_start_offset == 6


@pytest.fixture
async def second(cluster: Cluster, tmp_path: Path) -> AsyncIterator[ServiceProcess]:
    """One more broker of the cluster."""
    broker = ServiceProcess(
        "ottla_broker",
        "--node-id=2",
        f"--data-dir={tmp_path / 'broker-2'}",
        f"--controller=127.0.0.1:{cluster.controller.port}",
        log=tmp_path / "broker-2.log",
    )
    try:
        await broker.start("--rack=far")
        yield broker
    finally:
        await broker.kill()


async def test_a_broker_that_was_killed_costs_what_only_it_can_tell(
    cluster: Cluster, second: ServiceProcess, admin: ottla.Admin
) -> None:
    here_and_there = ottla.NewTopic(TOPIC, assignments=[[1], [2]])
    (created,) = await admin.create_topics([here_and_there])
    assert created.error is None
    for partition in (0, 1):
        await sent(cluster, b"a", b"b", b"c", partition=partition)
    results = await admin.delete_records({(TOPIC, 0): 1, (TOPIC, 1): 2})
    assert [each.log_start_offset for each in results] == [1, 2]
    directories = await admin.describe_log_directories()
    assert [(each.node_id, len(each.replicas)) for each in directories] == [(1, 1), (2, 1)]
    far = await admin.describe_config("broker", "2", names=["rack", "retention.ms"])
    assert sources(far)["rack"] == [("far", "static")]
    await admin.alter_config("broker", "2", values={"retention.ms": "5"})
    await second.kill()
    async with ottla.Admin(f"127.0.0.1:{cluster.broker.port}", timeout_ms=3_000) as hasty:
        results = await hasty.delete_records({(TOPIC, 0): 2, (TOPIC, 1): 3})
        assert results[0].log_start_offset == 2
        assert isinstance(results[1].error, LeaderNotAvailable | OutcomeUnknown)
        near, silent = await hasty.describe_log_directories()
        assert (near.error, len(near.replicas)) == (None, 1)
        assert (silent.node_id, silent.path, silent.replicas) == (2, "", [])
        assert isinstance(silent.error, LeaderNotAvailable)
        (known,) = await hasty.describe_configs([ottla.ConfigResource("broker", "2")])
        assert isinstance(known.error, LeaderNotAvailable)
        assert sources(known) == {"retention.ms": [("5", "broker")]}
    await second.start("--rack=far")
    (again,) = await admin.delete_records({(TOPIC, 1): 3})
    assert (again.log_start_offset, again.error) == (3, None)


async def test_metadata_moves_to_another_controller_and_no_record_is_lost(
    cluster: Cluster, admin: ottla.Admin, tmp_path: Path
) -> None:
    await admin.create_topic(TOPIC, partition_count=2, configs={"segment.ms": "12345"})
    await admin.alter_config("cluster", values={"max.message.bytes": "4000"})
    for partition in (0, 1):
        await sent(cluster, b"a", b"b", partition=partition)
    export = b"".join([chunk async for chunk in admin.export_metadata()])
    with pytest.raises(OttlaError):
        await admin.import_metadata([export])
    before = await admin.describe_cluster()
    await cluster.broker.end()
    await cluster.controller.end()
    await asyncio.to_thread((tmp_path / "moved").mkdir)
    moved = Cluster(tmp_path / "moved")
    moved.broker = cluster.broker
    try:
        await moved.controller.start()
        async with ottla.Admin(f"127.0.0.1:{moved.controller.port}") as controller:
            for damaged in (export[:-3], b"nonsense", b""):
                with pytest.raises(OttlaError):
                    await controller.import_metadata([damaged])
            halves = [export[:100], export[100:]]
            imported = await controller.import_metadata(halves)
            assert imported.record_count >= 5
        await moved.start_broker()
        async with ottla.Admin(f"127.0.0.1:{moved.broker.port}") as after:
            assert (await after.describe_cluster()).cluster_id == before.cluster_id
            (described,) = await after.describe_topics([TOPIC])
            assert described.configs == {"segment.ms": "12345"}
            assert (await after.describe_config("cluster"))["max.message.bytes"] == "4000"
        for partition in (0, 1):
            assert await held(moved, partition) == [(0, b"a"), (1, b"b")]
            assert await sent(moved, b"c", partition=partition) == 2
    finally:
        await moved.stop()
