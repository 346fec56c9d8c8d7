"""The admin calls on a controller that runs: what they answer, and what a failing store leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest

from kit.clock import ManualClock, settle
from ottla.api.admin.v1 import admin_pb2
from ottla.protocol.errors import (
    InvalidRequest,
    MetadataStoreUnavailable,
    NotController,
    OutcomeUnknown,
    Throttled,
    UnsupportedVersion,
)
from ottla_controller.core.topic_creation import CreationRules
from ottla_controller.rpc.admin_service import AdminServicer
from ottla_controller.store.interface import Compare, Operation, TransactionResult
from ottla_runtime.entropy import SystemEntropy

from ..metadata_store.memory_store import MemoryMetadataStore
from .alterations import OF_CLUSTER, of_topic, put
from .control_context import ControllerContext

CALL: Final[Any] = None
"""Servicers ask nothing of their call's context."""
RULES = CreationRules(partition_count=1, replication_factor=1, cluster_partitions_max=10_000)


class FailingStore(MemoryMetadataStore):
    """Takes some more transactions, then fails or loses its answer to one, and works again."""

    takes: int | None = None
    loses_answer = False

    async def transact(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> TransactionResult:
        if self.takes is not None:
            self.takes -= 1
            if self.takes < 0:
                self.takes = None
                if not self.loses_answer:
                    raise MetadataStoreUnavailable("the store does not answer")
                self.lost_answers = 1
        return await super().transact(compares, operations)


@asynccontextmanager
async def failing() -> AsyncIterator[tuple[ControllerContext, FailingStore]]:
    """A controller that runs on a store which can be told to fail."""
    clock = ManualClock()
    store = FailingStore(clock=clock)
    async with ControllerContext.running(store=store, clock=clock) as context:
        yield context, store


def servicer(context: ControllerContext) -> AdminServicer:
    return AdminServicer(context.controller, rules=RULES, entropy=SystemEntropy())


async def create(admin: AdminServicer, name: str, partitions: int) -> None:
    topic = admin_pb2.NewTopic(name=name, partition_count=partitions)
    response = await admin.CreateTopics(admin_pb2.CreateTopicsRequest(topics=[topic]), CALL)
    assert not response.results[0].HasField("error"), response.results[0].error.message


def growth(name: str, count: int) -> admin_pb2.CreatePartitionsRequest:
    item = admin_pb2.NewPartitions(topic=admin_pb2.TopicRef(name=name), partition_count=count)
    return admin_pb2.CreatePartitionsRequest(topics=[item])


def alteration(resource: admin_pb2.ConfigResource, **configs: str) -> admin_pb2.AlterConfigsRequest:
    alterations = [put(name.replace("_", "."), value) for name, value in configs.items()]
    item = admin_pb2.ConfigAlterations(resource=resource, alterations=alterations)
    return admin_pb2.AlterConfigsRequest(resources=[item])


async def export(context: ControllerContext) -> list[bytes]:
    request = admin_pb2.ExportMetadataRequest()
    return [each.chunk async for each in servicer(context).ExportMetadata(request, CALL)]


async def sent(chunks: Sequence[bytes]) -> AsyncIterator[admin_pb2.ImportMetadataRequest]:
    for chunk in chunks:
        yield admin_pb2.ImportMetadataRequest(chunk=chunk)


async def take_over(
    context: ControllerContext, chunks: Sequence[bytes]
) -> admin_pb2.ImportMetadataResponse:
    return await servicer(context).ImportMetadata(sent(chunks), CALL)


@pytest.fixture
async def chunks() -> list[bytes]:
    """What a cluster with 400 partitions and some settings exports."""
    async with ControllerContext.running() as source:
        await source.start_broker(1)
        admin = servicer(source)
        await create(admin, "flights", 400)
        await admin.AlterConfigs(alteration(OF_CLUSTER, log_level="debug"), CALL)
        return await export(source)


async def test_partitions_are_added_and_the_answer_says_which_version_shows_them() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        admin = servicer(context)
        await create(admin, "flights", 2)
        for _ in range(2):
            response = await admin.CreatePartitions(growth("flights", 300), CALL)
            assert [each.partition_count for each in response.results] == [300]
            assert response.metadata_version == context.image.version
        assert context.state.partition_count == 300


async def test_a_growth_that_a_failing_store_cut_off_leaves_nothing() -> None:
    async with failing() as (context, store):
        await context.start_broker(1)
        admin = servicer(context)
        await create(admin, "flights", 2)
        store.takes = 2
        with pytest.raises(MetadataStoreUnavailable):
            await admin.CreatePartitions(growth("flights", 600), CALL)
        assert context.state.surplus
        await context.advance(1_000)
        assert context.state.partition_count == 2
        response = await admin.CreatePartitions(growth("flights", 600), CALL)
        assert response.results[0].partition_count == context.state.partition_count == 600


async def test_settings_are_altered_and_described() -> None:
    async with ControllerContext.running() as context:
        await context.start_broker(1)
        admin = servicer(context)
        await create(admin, "flights", 1)
        altered = await admin.AlterConfigs(alteration(of_topic(), retention_ms="5"), CALL)
        assert altered.results == [admin_pb2.AlterConfigsResult(resource=of_topic())]
        assert altered.metadata_version == context.image.version
        request = admin_pb2.DescribeConfigsRequest(resources=[of_topic()], names=["retention.ms"])
        (result,) = (await admin.DescribeConfigs(request, CALL)).results
        assert [entry.value for entry in result.entries] == ["5"]


async def test_requests_have_a_bounded_number_of_items() -> None:
    async with ControllerContext.running() as context:
        admin = servicer(context)
        with pytest.raises(InvalidRequest, match="topics has 1 to 1000 items, not 0"):
            await admin.CreatePartitions(admin_pb2.CreatePartitionsRequest(), CALL)
        with pytest.raises(InvalidRequest, match="resources has 1 to 1000 items, not 0"):
            await admin.AlterConfigs(admin_pb2.AlterConfigsRequest(), CALL)


async def test_what_concerns_records_is_asked_of_brokers() -> None:
    async with ControllerContext.running() as context:
        admin = servicer(context)
        with pytest.raises(UnsupportedVersion, match="ask a broker for DeleteRecords"):
            await admin.DeleteRecords(admin_pb2.DeleteRecordsRequest(), CALL)
        with pytest.raises(UnsupportedVersion, match="ask a broker for DescribeLogDirectories"):
            await admin.DescribeLogDirectories(admin_pb2.DescribeLogDirectoriesRequest(), CALL)


async def test_a_cluster_moves_to_another_store(chunks: list[bytes]) -> None:
    async with ControllerContext.running() as target:
        response = await take_over(target, chunks)
        assert response.record_count == 1 + 1 + 1 + 1 + 400
        assert response.metadata_version == target.image.version
        assert response.metadata_version.generation == 2
        assert target.state.topic_named("flights") is not None
        assert not target.state.has_leftovers
        await target.start_broker(1)
        await settle()
        assert target.state.leader_count(1) == 400


async def test_who_follows_the_metadata_gets_the_import_at_once(chunks: list[bytes]) -> None:
    async with ControllerContext.running() as target:
        before = target.feed.revision
        await take_over(target, chunks)
        await target.advance(100)
        deltas = target.feed.after(before)
        assert deltas is not None
        changes = [change for delta in deltas for each in delta.chunks for change in each.changes]
        assert sum(change.HasField("partition") for change in changes) == 400
        assert {delta.revision for delta in deltas} == {target.image.visible_revision}


@pytest.mark.parametrize("takes", [1, 2, 3])
async def test_an_import_that_a_failing_store_cut_off_is_taken_back(
    chunks: list[bytes], takes: int
) -> None:
    async with failing() as (target, store):
        admin = servicer(target)
        store.takes = takes
        with pytest.raises(MetadataStoreUnavailable):
            await take_over(target, chunks)
        assert target.state.import_record is not None
        for refused in (
            admin.ListTopics(admin_pb2.ListTopicsRequest(), CALL),
            admin.DescribeCluster(admin_pb2.DescribeClusterRequest(), CALL),
            admin.AlterConfigs(alteration(OF_CLUSTER, log_level="info"), CALL),
            take_over(target, chunks),
            export(target),
            target.register(1),
        ):
            with pytest.raises(MetadataStoreUnavailable, match="being written, or taken back"):
                await refused
        await target.advance(1_000)
        assert not target.state.has_leftovers
        listed = await admin.ListTopics(admin_pb2.ListTopicsRequest(), CALL)
        assert not listed.topics
        assert (await take_over(target, chunks)).record_count == 404


async def test_whoever_leads_next_takes_a_half_import_back(chunks: list[bytes]) -> None:
    async with failing() as (target, store):
        store.takes = 2
        with pytest.raises(MetadataStoreUnavailable):
            await take_over(target, chunks)
    async with ControllerContext.running(contents=store.contents) as successor:
        assert successor.feed.snapshot()[1][0].DESCRIPTOR.name == "ClusterRecord"
        await successor.advance(1_000)
        assert not successor.state.has_leftovers
        assert not successor.state.topics
        assert not successor.state.brokers


async def test_an_import_whose_answer_was_lost_is_repeated(chunks: list[bytes]) -> None:
    async with failing() as (target, store):
        store.takes, store.loses_answer = 3, True
        with pytest.raises(OutcomeUnknown):
            await take_over(target, chunks)
        assert store.takes is None, "it was the last of four transactions"
        assert not target.state.has_leftovers
        revision = target.state.revision
        assert (await take_over(target, chunks)).record_count == 404
        assert target.state.revision == revision


async def test_one_import_at_a_time_is_read(chunks: list[bytes]) -> None:
    async with ControllerContext.running() as target:
        admin = servicer(target)
        going_on = asyncio.Event()

        async def slowly() -> AsyncIterator[admin_pb2.ImportMetadataRequest]:
            await going_on.wait()
            for chunk in chunks:
                yield admin_pb2.ImportMetadataRequest(chunk=chunk)

        async with asyncio.TaskGroup() as group:
            first = group.create_task(admin.ImportMetadata(slowly(), CALL), name="import")
            await settle()
            with pytest.raises(Throttled):
                await admin.ImportMetadata(sent(chunks), CALL)
            going_on.set()
        assert first.result().record_count == 404


async def test_a_stream_cut_in_the_middle_writes_nothing_and_leaves_room_for_the_next(
    chunks: list[bytes],
) -> None:
    async with ControllerContext.running() as target:
        admin = servicer(target)
        revision = target.state.revision
        for broken in ([chunks[0][:-1]], [chunks[0][:100]], [], [b""]):
            with pytest.raises(InvalidRequest):
                await admin.ImportMetadata(sent(broken), CALL)
        assert target.state.revision == revision
        assert (await admin.ImportMetadata(sent(chunks), CALL)).record_count == 404


async def test_a_controller_of_one_cluster_takes_no_other_over(chunks: list[bytes]) -> None:
    async with ControllerContext.running(cluster_id="mine") as target:
        with pytest.raises(InvalidRequest, match="was started for 'mine'"):
            await take_over(target, chunks)


async def test_only_the_active_controller_imports(chunks: list[bytes]) -> None:
    async with failing() as (first, store):
        standing_by = ControllerContext.running(
            store=store, clock=first.clock, node_id=2, active=False
        )
        async with standing_by as second:
            await settle()
            with pytest.raises(NotController):
                await take_over(second, chunks)
