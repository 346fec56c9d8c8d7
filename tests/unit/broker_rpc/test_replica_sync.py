"""Replicas brought in line with the metadata: many at a time, and no step before its turn."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import grpc
from structlog.testing import capture_logs

from kit.clock import settle
from kit.offloads import HeldOffload
from kit.storage import StorageContext
from ottla.api.cluster.v1 import cluster_pb2
from ottla.internal.controller.v1 import controller_pb2
from ottla.protocol.ids import BrokerEpoch, NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.replica_plan import ReplicaPlanner
from ottla_broker.metadata.replica_sync import REOPEN_MS, ReplicaSync
from ottla_broker.metadata.topic_settings import TopicSettings
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.storage.filesystem import Descriptors

from .cluster_messages import Change, cluster, partition, removed, topic, topic_id

ME = NodeId(1)
EPOCH = 100
COUNT = 200


class FakeController:
    """Takes AssignDirectories; what it answers is a test's lever."""

    def __init__(self) -> None:
        self.assigned: list[int] = []
        self.floors: dict[int, int] = {}
        self.asked = asyncio.Event()
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.refusals = 0

    def unary_unary(self, method: str, *args: Any, **options: Any) -> Callable[..., Any]:
        service = "/ottla.internal.controller.v1.ControllerService/"
        assert method.startswith(service)
        return self._raise if method == service + "RaiseLeaderEpochs" else self._assign

    unary_stream = unary_unary

    async def _assign(
        self, request: controller_pb2.AssignDirectoriesRequest, **options: float
    ) -> controller_pb2.AssignDirectoriesResponse:
        self.asked.set()
        await self.may_answer.wait()
        self._refuse()
        self.assigned += [each.partition for each in request.assignments]
        return controller_pb2.AssignDirectoriesResponse()

    async def _raise(
        self, request: controller_pb2.RaiseLeaderEpochsRequest, **options: float
    ) -> controller_pb2.RaiseLeaderEpochsResponse:
        self._refuse()
        self.floors |= {each.partition: each.leader_epoch for each in request.floors}
        return controller_pb2.RaiseLeaderEpochsResponse()

    def _refuse(self) -> None:
        if self.refusals:
            self.refusals -= 1
            raise grpc.aio.AioRpcError(
                grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata()
            )


class Synced:
    """A `ReplicaSync` on real storage, with a cluster's table and a controller to ask."""

    def __init__(self, context: StorageContext, replicas: ReplicaTable) -> None:
        self.table = ClusterTable()
        self.controller = FakeController()
        self.applied = VersionWaiters()
        self.filesystem = context.filesystem
        self.replicas = replicas
        self.sync = ReplicaSync(
            replicas,
            table=self.table,
            planner=ReplicaPlanner(
                self.table,
                node_id=ME,
                settings=TopicSettings(self.table, node_id=ME, static={}),
            ),
            node_id=ME,
            link=ControllerLink(
                [cluster_pb2.Endpoint(host="a", port=1)],
                table=self.table,
                open_channel=lambda _: cast("grpc.aio.Channel", self.controller),
            ),
            applied=self.applied,
            clock=context.clock,
        )

    async def begin(self) -> None:
        """The broker is registered and has seen a snapshot."""
        await self.replicas.adopt_cluster("cluster-a")
        self.sync.registered(BrokerEpoch(EPOCH))
        self.change(cluster(), snapshot=True)
        assert await self.sync.apply()
        self.filesystem.calls.clear()

    def change(self, *changes: Change, snapshot: bool = False, generation: int = 1) -> None:
        """The metadata changes."""
        touched = self.table.apply(changes)
        touched.everything = snapshot
        self.table.version = ClusterVersion(generation, self.table.version.revision + 1)
        self.sync.changed(touched)

    def restore(self, *changes: Change) -> None:
        """The metadata is that of a backup: these topics alone, in a new generation."""
        backup = ClusterTable()
        backup.apply([cluster(), *changes])
        backup.version = ClusterVersion(2, 1)
        touched = self.table.become(backup)
        touched.everything = True
        self.sync.changed(touched)

    def leader_epochs(self) -> set[int | None]:
        return {replica.leader_epoch for replica in self.replicas.partitions()}

    def flushes(self) -> Counter[str]:
        """How often what was flushed since the last time."""
        calls = Counter(self.filesystem.calls)
        self.filesystem.calls.clear()
        return calls


def led(number: int, count: int = COUNT, *, epoch: int = 1, directory: bytes = b"") -> list[Change]:
    """All partitions of a topic, led by this broker."""
    return [
        partition(number, each, leader_epoch=epoch, broker_epoch=EPOCH, directory=directory)
        for each in range(count)
    ]


async def test_many_replicas_are_created_and_led_by_few_flushes(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a", partition_count=COUNT), *led(1))
        assert await synced.sync.apply()
        assert sorted(synced.controller.assigned) == list(range(COUNT))
        assert synced.leader_epochs() == {1}
        assert synced.applied.version == synced.table.version
        flushes = synced.flushes()
        # For each its name's file and its directory; the rest is for all together.
        assert flushes["datasync"] <= COUNT + 5
        assert flushes["sync_directory"] <= COUNT + COUNT // 4


async def test_epochs_of_many_leaders_begin_with_one_write(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a", partition_count=COUNT), *led(1))
        assert await synced.sync.apply()
        home = replicas.partitions()[0].directory_id
        synced.flushes()
        synced.change(*led(1, epoch=2, directory=home))
        assert await synced.sync.apply()
        assert synced.leader_epochs() == {2}
        flushes = synced.flushes()
        assert (flushes["datasync"], flushes["sync_directory"]) == (1, 1)
        after = await context.crashed("after")
    async with after.opened() as replicas:
        assert {replica._log.epochs.latest for replica in replicas.partitions()} == {2}


async def test_new_replica_leads_once_the_controller_knows_its_directory(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas, asyncio.TaskGroup() as group:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.controller.may_answer.clear()
        synced.change(topic(1, "a", partition_count=3), *led(1, 3))
        applying = group.create_task(synced.sync.apply(), name="apply")
        await synced.controller.asked.wait()
        assert (len(replicas.partitions()), synced.leader_epochs()) == (3, {None})
        # What the controller is told is there is durable.
        after = await context.crashed("after")
        synced.controller.may_answer.set()
        assert await applying
        assert synced.leader_epochs() == {1}
    async with after.opened() as replicas:
        assert len(replicas.partitions()) == 3


async def test_directories_that_could_not_be_told_are_told_again(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        before = synced.applied.version
        synced.controller.refusals = 1
        synced.change(topic(1, "a", partition_count=3), *led(1, 3))
        assert not await synced.sync.apply()
        assert (synced.leader_epochs(), synced.applied.version) == ({None}, before)
        assert await synced.sync.apply()
        assert (synced.leader_epochs(), synced.controller.assigned) == ({1}, [0, 1, 2])


async def test_a_controller_that_does_not_take_directories_is_told_of_once(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.controller.refusals = 3
        synced.change(topic(1, "a"), *led(1, 1))
        with capture_logs() as lines:
            for _ in range(3):
                assert not await synced.sync.apply()
            assert await synced.sync.apply()
        assert [each["event"] for each in lines] == ["directories.assign_failed"]


async def test_many_replicas_are_deleted_by_few_flushes(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a", partition_count=COUNT), *led(1))
        assert await synced.sync.apply()
        synced.flushes()
        synced.change(removed(1))
        assert await synced.sync.apply()
        assert replicas.partitions() == []
        assert synced.flushes()["sync_directory"] <= COUNT // 4
        after = await context.crashed("after")
    async with after.opened() as replicas:
        assert replicas.partitions() == []


async def test_a_deletion_that_failed_is_tried_again(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a"), *led(1, 1))
        assert await synced.sync.apply()
        context.filesystem.errors["rename"] = errno.ENOSPC
        synced.change(removed(1))
        assert await synced.sync.apply()
        assert [each.topic for each in replicas.partitions()] == ["a"]
        context.filesystem.errors.clear()
        synced.change(topic(2, "b"), *led(2, 1))
        async with asyncio.TaskGroup() as group:
            running = group.create_task(synced.sync.run(), name="replica-sync")
            await synced.applied.wait_for(synced.table.version)
            running.cancel()
        assert [each.topic for each in replicas.partitions()] == ["b"]


async def test_epochs_that_a_log_has_seen_are_asked_to_be_raised_until_they_are(
    tmp_path: Path,
) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a", partition_count=2), *led(1, 2, epoch=7))
        assert await synced.sync.apply()
        home = replicas.partitions()[0].directory_id
        synced.controller.refusals = 1
        synced.restore(topic(1, "a", partition_count=2), *led(1, 2, epoch=5, directory=home))
        assert not await synced.sync.apply(), "it could not be told"
        assert synced.leader_epochs() == {None}
        assert synced.applied.version == synced.table.version
        assert await synced.sync.apply()
        assert synced.controller.floors == {0: 7, 1: 7}
        synced.change(*led(1, 2, epoch=8, directory=home), generation=2)
        assert await synced.sync.apply()
        assert synced.leader_epochs() == {8}


async def test_replicas_that_a_backup_does_not_know_are_kept(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a"), *led(1, 1), topic(2, "b"), *led(2, 1))
        assert await synced.sync.apply()
        synced.restore()
        assert await synced.sync.apply()
        assert len(replicas.partitions()) == 2
        assert synced.leader_epochs() == {None}
        synced.change(topic(3, "c"), *led(3, 1), generation=2)
        assert await synced.sync.apply()
        synced.change(removed(3), generation=2)
        assert await synced.sync.apply()
        assert sorted(each.topic for each in replicas.partitions()) == ["a", "b"]


async def test_a_namesake_of_a_kept_replica_begins_empty_and_takes_no_file_of_it(
    tmp_path: Path,
) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a"), *led(1, 1))
        assert await synced.sync.apply()
        synced.restore(topic(2, "a"), *led(2, 1))
        assert await synced.sync.apply()
        assert [each.topic_id for each in replicas.partitions()] == [topic_id(2)]
        assert synced.leader_epochs() == {1}
    pattern = f"~kept-{topic_id(1).hex()}-0-*"
    (kept,) = await asyncio.to_thread(lambda: list(context.paths[0].glob(pattern)))
    async with context.opened() as replicas:
        assert len(replicas.partitions()) == 1
        assert (await asyncio.to_thread(lambda: sorted(path.name for path in kept.iterdir())))[-1]


async def test_a_topic_that_a_backup_brought_back_is_kept_when_the_next_one_does_not_know_it(
    tmp_path: Path,
) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a"), *led(1, 1))
        assert await synced.sync.apply()
        synced.change(removed(1))
        assert await synced.sync.apply()
        assert replicas.partitions() == []
        synced.restore(topic(1, "a"), *led(1, 1))
        assert await synced.sync.apply()
        synced.restore()
        assert await synced.sync.apply()
        assert [each.topic for each in replicas.partitions()] == ["a"]


async def test_what_fails_again_and_again_is_told_when_its_reason_changes(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        context.filesystem.descriptors_left = Descriptors(limit=100, left=10)
        synced.change(topic(1, "a", partition_count=2), *led(1, 2))
        with capture_logs() as lines:
            assert await synced.sync.apply()
            synced.change(*led(1, 2))
            assert await synced.sync.apply()
        assert [(each["event"], each["reason"]) for each in lines] == [
            ("replica.open_failed", "STORAGE_FULL")
        ] * 2
        assert sorted(each["partition"] for each in lines) == [0, 1]


async def test_how_far_the_broker_has_come_is_durable_before_a_replica_is_made(
    tmp_path: Path,
) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        assert replicas.position.version == (0, 0)
        synced.change(topic(1, "a"), *led(1, 1))
        assert await synced.sync.apply()
        after = await context.crashed("after")
    async with after.opened() as replicas:
        assert replicas.position.broker_epoch == EPOCH
        assert replicas.position.version == (1, 2)


async def test_nothing_is_led_under_a_registration_that_ended_while_directories_were_told(
    tmp_path: Path,
) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas, asyncio.TaskGroup() as group:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.controller.may_answer.clear()
        synced.change(topic(1, "a", partition_count=3), *led(1, 3))
        applying = group.create_task(synced.sync.apply(), name="apply")
        await synced.controller.asked.wait()
        synced.sync.registered(BrokerEpoch(EPOCH + 1))
        synced.controller.may_answer.set()
        await applying
        assert synced.leader_epochs() == {None}


async def test_nothing_is_led_under_a_registration_that_ended_while_epochs_began(
    tmp_path: Path,
) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as replicas, asyncio.TaskGroup() as group:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a", partition_count=3), *led(1, 3))
        assert await synced.sync.apply()
        home = replicas.partitions()[0].directory_id
        synced.change(*led(1, 3, epoch=2, directory=home))
        offload.holds = True
        applying = group.create_task(synced.sync.apply(), name="apply")
        await offload.held(1)
        synced.sync.registered(BrokerEpoch(EPOCH + 1))
        offload.holds = False
        await offload.release()
        await applying
        assert synced.leader_epochs() == {None}


async def test_what_could_not_be_led_for_want_of_descriptors_is_led_later(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a"), *led(1, 1))
        assert await synced.sync.apply()
        home = replicas.partitions()[0].directory_id
        context.filesystem.errors["open"] = errno.EMFILE
        synced.change(*led(1, 1, epoch=2, directory=home))
        assert await synced.sync.apply()
        assert synced.leader_epochs() == {None}
        context.filesystem.errors.clear()
        async with asyncio.TaskGroup() as group:
            running = group.create_task(synced.sync.run(), name="replica-sync")
            await context.clock.advance(REOPEN_MS)
            while synced.leader_epochs() == {None}:
                await settle()
            running.cancel()
        assert synced.leader_epochs() == {2}


async def test_directories_that_a_backup_has_forgotten_are_told_again(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    async with context.opened() as replicas:
        synced = Synced(context, replicas)
        await synced.begin()
        synced.change(topic(1, "a", partition_count=2), *led(1, 2))
        assert await synced.sync.apply()
        synced.controller.assigned.clear()
        synced.sync.registered(BrokerEpoch(EPOCH))
        synced.restore(topic(1, "a", partition_count=2), *led(1, 2, epoch=2))
        assert await synced.sync.apply()
        assert (synced.controller.assigned, synced.leader_epochs()) == ([0, 1], {2})
