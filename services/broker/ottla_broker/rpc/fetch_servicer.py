"""FetchService: Read and ListOffsets, for thin clients, at any broker.

    Read ──┬─► led here: `reader` sends what its log holds
           └─► led elsewhere: the leader's messages, passed on as they come, unparsed

Owns the course of these calls. Where a partition is, is `partition_router`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import InvalidRequest, OttlaError
from ottla.protocol.ids import NodeId
from ottla_broker.rpc.fetch_session import FetchSessions
from ottla_broker.rpc.forwarded_calls import Forwarded, forwarded_metadata
from ottla_broker.rpc.offset_queries import find_offset, place_of
from ottla_broker.rpc.partition_router import Local, PartitionRouter, Remote
from ottla_broker.rpc.peer_channels import PeerChannels
from ottla_broker.rpc.read_plan import check_isolation, check_read
from ottla_broker.rpc.reader import Reader, ReadWaits
from ottla_broker.rpc.records_budget import RecordsBudget
from ottla_broker.rpc.records_feed import pace_of
from ottla_broker.storage.ports import Offload
from ottla_broker.transport.stream import EncodedMessage
from ottla_runtime.clock import Clock
from ottla_runtime.interceptors.principal import principal_of
from ottla_runtime.rpc_errors import error_of

QUERIES_MAX = 1_000
QUERY_TIMEOUT_MS = 30_000
READ_METHOD = "/ottla.api.fetch.v1.FetchService/Read"

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the queries of one ListOffsets call share."""

    forwarded: Forwarded
    principal: str
    isolation: fetch_pb2.Isolation.ValueType
    timeout_seconds: float


class FetchServicer(fetch_pb2_grpc.FetchServiceServicer):
    """Serves FetchService on one listener."""

    def __init__(
        self,
        router: PartitionRouter,
        peers: PeerChannels,
        *,
        node_id: NodeId,
        waits: ReadWaits,
        records: RecordsBudget,
        offload: Offload,
        clock: Clock,
        idle_ms: int,
        trusts_forwarded: bool,
    ) -> None:
        self._trusts_forwarded = trusts_forwarded
        self._router = router
        self._peers = peers
        self._node_id = node_id
        self._waits = waits
        self._records = records
        self._offload = offload
        self.sessions = FetchSessions(router, clock=clock, idle_ms=idle_ms)
        """The streams of `Fetch`; drained with the broker."""

    async def Read(self, request: fetch_pb2.ReadRequest, context: Context) -> AsyncIterator[Any]:
        """Send one partition's records from a point on, as encoded messages."""
        terms = check_read(request)
        metadata = context.invocation_metadata()
        forwarded = Forwarded.of(metadata)
        await self._router.caught_up(forwarded)
        entry = self._router.topic(request.topic, request.topic_id)
        where = await self._router.locate(entry, request.partition, forwarded=forwarded)
        if isinstance(where, Remote):
            principal = principal_of(metadata, trusts_forwarded=self._trusts_forwarded)
            async for message in self._forwarded_read(
                request, where, principal=principal, topic_id=entry.topic.topic_id, context=context
            ):
                yield message
            return
        if request.HasField("last_read_leader_epoch") and request.start.HasField("offset"):
            where.replica.check_last_read(
                request.start.offset, last_read_epoch=request.last_read_leader_epoch
            )
        reader = Reader(
            where.replica,
            terms,
            waits=self._waits,
            records=self._records,
            pace=pace_of(context),
            offload=self._offload,
        )
        try:
            async for message in reader.messages():
                yield message
        except OttlaError as error:
            raise self._router.naming_leader(error, where.view) from error
        finally:
            reader.close()

    async def _forwarded_read(
        self,
        request: fetch_pb2.ReadRequest,
        where: Remote,
        *,
        principal: str,
        topic_id: bytes,
        context: Context,
    ) -> AsyncIterator[EncodedMessage]:
        channel = await self._peers.channel(where.node_id)
        method: grpc.aio.UnaryStreamMultiCallable[bytes, bytes] = channel.unary_stream(READ_METHOD)
        passed_on = fetch_pb2.ReadRequest()
        passed_on.CopyFrom(request)
        passed_on.topic_id = topic_id
        call = method(
            passed_on.SerializeToString(),
            timeout=context.time_remaining(),
            metadata=self._metadata(principal),
        )
        try:
            async for message in call:
                self._waits.check()
                yield EncodedMessage((message,))
        finally:
            call.cancel()

    async def ListOffsets(
        self, request: fetch_pb2.ListOffsetsRequest, context: Context
    ) -> fetch_pb2.ListOffsetsResponse:
        """Answer where places in partitions are, each from its leader."""
        if len(request.queries) > QUERIES_MAX:
            raise InvalidRequest(
                f"{len(request.queries)} queries are more than the {QUERIES_MAX} of a call"
            )
        check_isolation(request.isolation)
        metadata = context.invocation_metadata()
        forwarded = Forwarded.of(metadata)
        left_seconds = context.time_remaining() or QUERY_TIMEOUT_MS / 1_000
        asked = _Asked(
            forwarded,
            principal_of(metadata, trusts_forwarded=self._trusts_forwarded),
            request.isolation,
            min(left_seconds, QUERY_TIMEOUT_MS / 1_000),
        )
        await self._router.caught_up(forwarded)
        results: list[fetch_pb2.OffsetResult | None] = [None] * len(request.queries)
        elsewhere: dict[NodeId, list[int]] = {}
        for place, where in enumerate(await self._located(request.queries, forwarded)):
            if isinstance(where, Remote):
                elsewhere.setdefault(where.node_id, []).append(place)
            else:
                results[place] = await self._answer(request.queries[place], where)
        async with asyncio.TaskGroup() as tasks:
            for node_id, places in elsewhere.items():
                work = self._ask(node_id, request.queries, places=places, asked=asked, into=results)
                tasks.create_task(work, name="list-offsets")
        return fetch_pb2.ListOffsetsResponse(results=[each for each in results if each is not None])

    async def _located(
        self, queries: Sequence[fetch_pb2.OffsetQuery], forwarded: Forwarded
    ) -> list[Local | Remote | OttlaError]:
        """Where each is answered, or why nowhere; they wait together for what isn't ready yet."""

        async def locate(query: fetch_pb2.OffsetQuery) -> Local | Remote | OttlaError:
            try:
                place_of(query)  # what is wrong with it is said here, whoever leads
                entry = self._router.topic(query.topic, query.topic_id)
                return await self._router.locate(entry, query.partition, forwarded=forwarded)
            except OttlaError as error:
                return error

        async with asyncio.TaskGroup() as tasks:
            locating = [tasks.create_task(locate(each), name="locate") for each in queries]
        return [task.result() for task in locating]

    async def _answer(
        self, query: fetch_pb2.OffsetQuery, where: Local | OttlaError
    ) -> fetch_pb2.OffsetResult:
        if isinstance(where, OttlaError):
            return _failed(query, where)
        try:
            return await self._found(query, where)
        except OttlaError as error:
            return _failed(query, error)

    async def _found(self, query: fetch_pb2.OffsetQuery, where: Local) -> fetch_pb2.OffsetResult:
        try:
            found = await find_offset(where.replica, place_of(query))
        except OttlaError as error:
            raise self._router.naming_leader(error, where.view) from error
        result = fetch_pb2.OffsetResult(topic=query.topic, partition=query.partition)
        if found is not None:
            result.offset = found.offset
            result.timestamp_ms = found.timestamp_ms
            if found.leader_epoch is not None:
                result.leader_epoch = found.leader_epoch
        return result

    async def _ask(
        self,
        node_id: NodeId,
        queries: Sequence[fetch_pb2.OffsetQuery],
        *,
        places: Sequence[int],
        asked: _Asked,
        into: list[fetch_pb2.OffsetResult | None],
    ) -> None:
        """Have another broker answer the queries at `places`, and put its answers there."""
        request = fetch_pb2.ListOffsetsRequest(
            queries=[queries[place] for place in places], isolation=asked.isolation
        )
        try:
            stub = fetch_pb2_grpc.FetchServiceStub(await self._peers.channel(node_id))
            response = await stub.ListOffsets(
                request, timeout=asked.timeout_seconds, metadata=self._metadata(asked.principal)
            )
            answers = dict(zip(places, response.results, strict=False))
        except (grpc.RpcError, OttlaError) as error:
            failed = error if isinstance(error, OttlaError) else error_of(error)
            answers = {place: _failed(queries[place], failed) for place in places}
        for place in places:
            into[place] = answers.get(place)

    def _metadata(self, principal: str) -> tuple[tuple[str, str], ...]:
        return forwarded_metadata(
            node_id=self._node_id, version=self._router.table.version, principal=principal
        )

    async def Fetch(  # type: ignore[override]  # a coroutine that writes by itself
        self, request_iterator: AsyncIterator[fetch_pb2.FetchRequest], context: Context
    ) -> None:
        """Send the batches of many partitions led here, as far as the client's credit goes."""
        await self.sessions.serve(request_iterator, context)


def _failed(query: fetch_pb2.OffsetQuery, error: OttlaError) -> fetch_pb2.OffsetResult:
    return fetch_pb2.OffsetResult(
        topic=query.topic[:249], partition=query.partition, error=to_proto(error)
    )
