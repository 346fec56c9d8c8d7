"""ProduceService: Publish, for thin clients, at any broker; Produce is `produce_session`'s.

    request ──► checked, dealt out to partitions ──┬─► led here: batches built, appended, awaited
                                                   └─► led elsewhere: passed on once, never again

Owns the course of a Publish call. Records of one partition stand or fall together; partitions
don't wait for one another.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import grpc

from ottla.api.produce.v1 import produce_pb2, produce_pb2_grpc
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    AcksTimedOut,
    OttlaError,
    OutcomeUnknown,
    UnknownTopicOrPartition,
)
from ottla.protocol.ids import NodeId
from ottla_broker.core.append_checks import Acks
from ottla_broker.metadata.append_guard import check_may_append
from ottla_broker.metadata.cluster_table import TopicEntry
from ottla_broker.rpc.forwarded_calls import Forwarded, forwarded_metadata
from ottla_broker.rpc.partition_router import Local, PartitionRouter, Remote
from ottla_broker.rpc.peer_channels import PeerChannels
from ottla_broker.rpc.produce_session import ProduceSessions, ProduceSurroundings
from ottla_broker.rpc.publish_batches import build_batches, is_small
from ottla_broker.rpc.publish_plan import (
    PartitionChooser,
    PartitionGroup,
    PublishTerms,
    check_request,
)
from ottla_broker.rpc.publish_results import (
    Answered,
    Appended,
    Failed,
    GroupOutcome,
    response_of,
)
from ottla_broker.rpc.topic_auto_creation import TopicAutoCreation
from ottla_broker.storage.ports import Offload
from ottla_broker.transport import raw_request
from ottla_runtime.clock import Clock
from ottla_runtime.interceptors.principal import principal_of
from ottla_runtime.rpc_errors import TransportFailed, error_of

LOOP_RESULTS_MAX = 500
FORWARD_GRACE_MS = 500
"""How much longer than the leader a forwarder waits, so that the leader's answer wins."""

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Call:
    """What the parts of one Publish call share."""

    request: produce_pb2.PublishRequest
    terms: PublishTerms
    entry: TopicEntry
    forwarded: Forwarded
    principal: str
    deadline: float


class ProduceServicer(produce_pb2_grpc.ProduceServiceServicer):
    """Serves ProduceService on one listener."""

    def __init__(
        self,
        router: PartitionRouter,
        peers: PeerChannels,
        *,
        node_id: NodeId,
        auto_creation: TopicAutoCreation,
        lease_held: Callable[[], bool],
        clock: Clock,
        offload: Offload,
        idle_ms: int,
        trusts_forwarded: bool,
    ) -> None:
        self._trusts_forwarded = trusts_forwarded
        self._router = router
        self._peers = peers
        self._node_id = node_id
        self._auto_creation = auto_creation
        self._lease_held = lease_held
        self._clock = clock
        self._offload = offload
        self._chooser = PartitionChooser()
        self.sessions = ProduceSessions(
            ProduceSurroundings(
                router=router,
                node_id=node_id,
                lease_held=lease_held,
                offload=offload,
                clock=clock,
                idle_ms=idle_ms,
            )
        )
        """The streams of `Produce`; drained with the broker."""

    async def Publish(
        self, request: produce_pb2.PublishRequest, context: Context
    ) -> produce_pb2.PublishResponse:
        """Append plain records to a topic, wherever its partitions are led."""
        terms = check_request(request)
        metadata = context.invocation_metadata()
        forwarded = Forwarded.of(metadata)
        principal = principal_of(metadata, trusts_forwarded=self._trusts_forwarded)
        deadline = asyncio.get_running_loop().time() + terms.timeout_ms / 1_000
        await self._router.caught_up(forwarded)
        entry = await self._topic(request, principal)
        call = _Call(request, terms, entry, forwarded, principal, deadline)
        groups = self._chooser.groups(request, entry)
        if len(groups) == 1:
            outcomes = [await self._outcome(call, groups[0])]
        else:
            async with asyncio.TaskGroup() as tasks:
                running = [
                    tasks.create_task(self._outcome(call, group), name="publish-partition")
                    for group in groups
                ]
            outcomes = [task.result() for task in running]
        return await self._response(call, list(zip(groups, outcomes, strict=True)))

    @raw_request
    async def Produce(  # type: ignore[override]  # requests come raw, and it writes by itself
        self, request_iterator: AsyncIterator[memoryview], context: Context
    ) -> None:
        """Append batches of the partitions led here, many in flight, in order a partition."""
        await self.sessions.serve(request_iterator, context)

    async def _topic(self, request: produce_pb2.PublishRequest, principal: str) -> TopicEntry:
        try:
            return self._router.topic(request.topic, request.topic_id)
        except UnknownTopicOrPartition:
            if request.topic_id or not self._auto_creation.is_enabled:
                raise
        await self._auto_creation.create(request.topic, principal=principal)
        return self._router.topic(request.topic)

    async def _response(
        self, call: _Call, outcomes: list[tuple[PartitionGroup, GroupOutcome]]
    ) -> produce_pb2.PublishResponse:
        topic_id = call.entry.topic.topic_id
        if len(call.request.records) <= LOOP_RESULTS_MAX:
            return response_of(call.request, outcomes, topic_id=topic_id)
        return await self._offload.run(
            lambda: response_of(call.request, outcomes, topic_id=topic_id)
        )

    async def _outcome(self, call: _Call, group: PartitionGroup) -> GroupOutcome:
        try:
            where = await self._router.locate(call.entry, group.partition, forwarded=call.forwarded)
            if isinstance(where, Remote):
                return await self._forward(call, group, where)
            try:
                return await self._append(call, group, where)
            except OttlaError as error:
                raise self._router.naming_leader(error, where.view) from error
        except OttlaError as error:
            return Failed(to_proto(_naming(error, call, group)))

    async def _append(self, call: _Call, group: PartitionGroup, where: Local) -> GroupOutcome:
        acks = call.terms.acks
        check_may_append(where.view, acks, node_id=self._node_id, lease_held=self._lease_held())
        records = [call.request.records[place] for place in group.places]
        now_ms = self._clock.wall_ms()
        config = where.replica.config
        if is_small(records, config):
            batches = build_batches(records, config=config, now_ms=now_ms)
        else:
            batches = await self._offload.run(
                lambda: build_batches(records, config=config, now_ms=now_ms)
            )
        try:
            async with asyncio.timeout_at(call.deadline):
                result = await where.replica.append(batches, acks=acks)
        except TimeoutError:
            raise AcksTimedOut(
                f"appended, but not acknowledged within {call.terms.timeout_ms} ms; "
                "it may yet be committed"
            ) from None
        base_offset = None if acks is Acks.NONE else result.base_offset
        return Appended(base_offset, result.append_time_ms, now_ms)

    async def _forward(self, call: _Call, group: PartitionGroup, where: Remote) -> GroupOutcome:
        channel = await self._peers.ready_channel(where.node_id)
        stub = produce_pb2_grpc.ProduceServiceStub(channel)
        left_ms = (call.deadline - asyncio.get_running_loop().time()) * 1_000
        request = produce_pb2.PublishRequest(
            topic=call.request.topic,
            topic_id=call.entry.topic.topic_id,
            partition=group.partition,
            acks=call.request.acks,
            timeout_ms=max(1, int(left_ms)),
            records=[call.request.records[place] for place in group.places],
        )
        metadata = forwarded_metadata(
            node_id=self._node_id, version=self._router.table.version, principal=call.principal
        )
        try:
            response = await stub.Publish(
                request, timeout=(left_ms + FORWARD_GRACE_MS) / 1_000, metadata=metadata
            )
        except grpc.RpcError as error:
            raise _after_sending(error_of(error)) from error
        if len(response.results) != len(group.places):
            raise OutcomeUnknown("the leader's answer doesn't fit the request")
        return Answered(response.results)


def _after_sending(error: OttlaError) -> OttlaError:
    """What a broken call means once its request may have been sent: nobody knows if it was run."""
    if isinstance(error, TransportFailed):
        return OutcomeUnknown(f"the leader's answer was lost: {error.message}")
    return error


def _naming(error: OttlaError, call: _Call, group: PartitionGroup) -> OttlaError:
    """The error with topic and partition in its details."""
    if "partition" in error.metadata and "topic" in error.metadata:
        return error
    names = {"topic": call.request.topic, "partition": group.partition}
    named = type(error)(
        error.message, metadata={**error.metadata, **names}, retry_after_ms=error.retry_after_ms
    )
    if named.reason != error.reason:  # a reason that this version doesn't know keeps its own
        return error
    return named
