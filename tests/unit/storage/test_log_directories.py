"""Whose a log directory is, what is in it, and several of them with one failing."""

from __future__ import annotations

import asyncio
import errno
import json
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.storage import TOPIC_ID, StorageContext, values_of
from ottla.protocol.errors import (
    ClusterMismatch,
    DuplicateNodeId,
    StorageOffline,
    UnknownTopicOrPartition,
    UnsupportedVersion,
)
from ottla.protocol.ids import DirectoryId, TopicId
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import DirectoryFailed, EntryIgnored, LeftoverRemoved
from ottla_broker.replica.replica_table import ReplicaTable

OTHER_ID = TopicId(b"another topic id")


@pytest.fixture
def several(tmp_path: Path) -> StorageContext:
    return StorageContext(tmp_path, directory_count=3)


async def create(table: ReplicaTable, topic_id: TopicId, partition: int = 0) -> None:
    await table.open_partition(topic_id, "topic", partition, config=LogConfig(), directory_id=None)


async def test_directory_keeps_its_id_and_its_cluster(context: StorageContext) -> None:
    async with context.opened() as table:
        assert table.cluster_id is None
        ids = table.directory_ids
        assert len(ids[0]) == 16
        await table.adopt_cluster("cluster-a")
        await table.adopt_cluster("cluster-a")
    async with context.opened() as table:
        assert (table.directory_ids, table.cluster_id) == (ids, "cluster-a")
        with pytest.raises(ClusterMismatch, match="belongs to cluster cluster-a"):
            await table.adopt_cluster("cluster-b")


async def test_directory_of_another_node_is_refused(context: StorageContext) -> None:
    async with context.opened():
        pass
    context.node_id = 2
    with pytest.raises(ClusterMismatch, match="belongs to node 1, this is node 2"):
        async with context.opened():
            pass


async def test_directories_of_two_clusters_are_refused(several: StorageContext) -> None:
    paths = several.paths
    for number in range(2):
        several.paths = [paths[number]]
        async with several.opened() as table:
            await table.adopt_cluster(f"cluster-{number}")
    several.paths = paths
    with pytest.raises(ClusterMismatch, match="start with directories of one cluster"):
        async with several.opened():
            pass
    several.paths = [paths[0]]
    async with several.opened():
        pass


async def test_directory_with_something_else_in_it_is_refused_and_left_as_it_is(
    context: StorageContext,
) -> None:
    def fill() -> None:
        context.paths[0].mkdir()
        (context.paths[0] / "thesis.doc").write_bytes(b"years of work")

    await asyncio.to_thread(fill)
    with pytest.raises(ClusterMismatch, match="it is no log directory"):
        async with context.opened():
            pass
    assert await asyncio.to_thread((context.paths[0] / "thesis.doc").read_bytes)
    left = await asyncio.to_thread(context.filesystem.list, context.paths[0])
    assert [each.name for each in left] == ["thesis.doc"]


async def test_directory_in_use_is_refused(context: StorageContext) -> None:
    async with context.opened():
        with pytest.raises(DuplicateNodeId, match="in use by another process"):
            async with context.opened():
                pass
    async with context.opened():
        pass


async def test_newer_format_is_refused(context: StorageContext) -> None:
    async with context.opened():
        pass

    def age() -> None:
        path = context.paths[0] / "meta"
        document = json.loads(path.read_bytes())
        path.write_text(json.dumps({**document, "format": 2}))

    await asyncio.to_thread(age)
    with pytest.raises(UnsupportedVersion, match="start a release at least as new"):
        async with context.opened():
            pass


async def test_damaged_meta_is_refused_not_replaced(context: StorageContext) -> None:
    async with context.opened():
        pass
    await asyncio.to_thread((context.paths[0] / "meta").write_bytes, b"")
    with pytest.raises(ClusterMismatch, match="cannot be read"):
        async with context.opened():
            pass


async def test_replicas_spread_over_the_directories(several: StorageContext) -> None:
    async with several.opened() as table:
        async with asyncio.TaskGroup() as group:
            for number in range(9):
                group.create_task(create(table, TOPIC_ID, number), name=f"create-{number}")
        counts = [len(directory.replicas) for directory in table.describe()]
        assert counts == [3, 3, 3]
        ids = {partition.directory_id for partition in table.partitions()}
        assert ids == set(table.directory_ids)


async def test_one_failed_directory_takes_only_its_replicas_offline(
    several: StorageContext,
) -> None:
    async with several.opened() as table:
        partitions = [await several.leader(table, number) for number in range(3)]
        for partition in partitions:
            await partition.append([make_batch(b"a")], acks=Acks.ALL)
        bad = partitions[1]
        path = next(one.path for one in table.describe() if one.directory_id == bad.directory_id)
        several.filesystem.failing_under = path
        several.filesystem.errors["pwritev"] = errno.EIO
        with pytest.raises(StorageOffline):
            await bad.append([make_batch(b"b")], acks=Acks.ALL)
        for partition in (partitions[0], partitions[2]):
            await partition.append([make_batch(b"b")], acks=Acks.ALL)
            assert await values_of(partition) == [b"a", b"b"]
        assert table.offline_directory_ids == [bad.directory_id]
        assert len(table.directory_ids) == 2
        described = {one.path: one for one in table.describe()}
        assert not described[path].online
        assert isinstance(described[path].error, StorageOffline)
        new = await several.leader(table, 7)
        assert new.directory_id != bad.directory_id
        await table.close(broker_epoch=4)
    several.filesystem.errors.clear()
    async with several.opened() as table:
        assert table.clean_shutdown_epoch is None
        assert len(table.directory_ids) == 3


async def test_directory_that_fails_at_the_start_leaves_the_others(
    several: StorageContext,
) -> None:
    async with several.opened() as table:
        for number in range(3):
            partition = await several.leader(table, number)
            await partition.append([make_batch(b"a")], acks=Acks.ALL)
    several.filesystem.failing_under = several.paths[2]
    several.filesystem.errors["list"] = errno.EIO
    async with several.opened() as table:
        assert len(table.directory_ids) == 2
        assert len(table.partitions()) == 2
        assert [one.online for one in table.describe()] == [True, True, False]
        lost = next(n for n in range(3) if table.find("topic", n) is None)
        with pytest.raises(StorageOffline, match="should be in log directory"):
            await table.open_partition(
                TOPIC_ID, "topic", lost, config=LogConfig(), directory_id=DirectoryId(b"d" * 16)
            )
        assert len(table.partitions()) == 2
    assert len(several.seen(DirectoryFailed)) == 1


async def test_directory_in_new_folders_is_durable_with_what_is_acknowledged_in_it(
    context: StorageContext,
) -> None:
    context.paths = [context.root / "new" / "folder" / "logs"]
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        after = context.root / "after"
        await asyncio.to_thread(context.filesystem.crash, context.root, after)
    left = await asyncio.to_thread(lambda: [each.name for each in after.glob("new/folder/logs/*")])
    assert "topic-0" in left


async def test_no_directory_left_is_refused(context: StorageContext) -> None:
    context.filesystem.errors["make_directory"] = errno.EROFS
    with pytest.raises(StorageOffline, match="no log directory can be used"):
        async with context.opened():
            pass


async def test_recreated_topic_starts_empty(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"old")], acks=Acks.ALL)
        await table.delete_topic(TOPIC_ID)
        with pytest.raises(UnknownTopicOrPartition):
            await partition.append([make_batch(b"late")], acks=Acks.ALL)
        with pytest.raises(UnknownTopicOrPartition):
            table.get(TOPIC_ID, 0)
        await create(table, OTHER_ID)
        new = table.get(OTHER_ID, 0)
        await new.become_leader(1)
        assert await values_of(new) == []
    async with context.opened() as table:
        assert [one.topic_id for one in table.partitions()] == [OTHER_ID]


async def test_namesake_of_a_deleted_topic_is_deleted(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"old")], acks=Acks.ALL)
        await create(table, OTHER_ID)
        assert [one.topic_id for one in table.partitions()] == [OTHER_ID]
        found = table.find("topic", 0)
        assert found is not None
        assert found.topic_id == OTHER_ID
        assert found.log_end_offset == 0


async def test_leftovers_are_removed_and_strangers_left_alone(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
    root = context.paths[0]

    def litter() -> None:
        for name in ("~deleted-00-1", "~creating-00-2", "photos"):
            (root / name).mkdir()
            (root / name / "file").write_bytes(b"x")
        (root / "checkpoint.tmp").write_bytes(b"x")
        (root / "topic-0" / "leader-epochs.tmp").write_bytes(b"x")
        (root / "topic-0" / "00000000000000000099.index").write_bytes(b"x")

    await asyncio.to_thread(litter)
    async with context.opened() as table:
        assert await values_of(await context.leader(table)) == [b"a"]
    assert len(context.seen(LeftoverRemoved)) == 5
    assert [Path(event.path).name for event in context.seen(EntryIgnored)] == ["photos"]
    names = {path.name for path in await asyncio.to_thread(lambda: list(root.iterdir()))}
    record = {"checkpoint", "checkpoint.spare", "leader-epochs", "leader-epochs.spare"}
    record |= {"cluster-position.spare"}
    assert names == {".lock", "meta", "photos", "topic-0"} | record


async def test_crash_between_the_steps_of_a_creation_leaves_all_or_nothing(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        context.filesystem.errors["rename"] = errno.EIO
        context.filesystem.failing_under = context.paths[0] / "~creating-never"
        await create(table, TOPIC_ID)
        after = await context.crashed("after")
    async with after.opened() as table:
        assert [str(one.name) for one in table.partitions()] == ["topic-0"]


async def test_closing_without_an_epoch_leaves_no_mark(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        await table.close(broker_epoch=None)
    async with context.opened() as table:
        assert table.clean_shutdown_epoch is None
        assert await values_of(await context.leader(table)) == [b"a"]
