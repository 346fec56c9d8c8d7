"""A Produce stream: many batches in flight, each partition's in the order they came.

    requests ─► lane of the partition ─► ready batches ─► append ─► answer, as acknowledged
                  one after the other up to the append; acknowledgements overlap

After a batch of a partition fails, its lane refuses those behind it with the same reason until a
request says that it resumes: what comes behind a gap must not get in front of it.

Owns the course of one stream and its bounds. Wire it up in a coroutine, marked `raw_request`:
`await sessions.serve(request_iterator, context)`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

import grpc

from ottla.api.produce.v1 import produce_pb2
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    AcksTimedOut,
    Draining,
    InvalidRequest,
    NotLeader,
    OttlaError,
)
from ottla.protocol.ids import TOPIC_ID_SIZE, TOPIC_NAME_CHARS_MAX, NodeId
from ottla_broker.core.append_checks import Acks
from ottla_broker.metadata.append_guard import check_may_append
from ottla_broker.replica.partition import AppendResult
from ottla_broker.rpc.forwarded_calls import Forwarded
from ottla_broker.rpc.partition_router import Local, PartitionRouter, Remote
from ottla_broker.rpc.produce_batches import ready_batches
from ottla_broker.rpc.produce_requests import (
    ProduceMessage,
    ProduceTerms,
    check_terms,
    parse_request,
)
from ottla_broker.rpc.session_errors import raise_expected, restated
from ottla_broker.storage.ports import Offload
from ottla_runtime.clock import Clock

IN_FLIGHT_COUNT_MAX: Final = 1_000
IN_FLIGHT_SIZE_MAX: Final = 32 << 20
LANES_MAX: Final = 20_000

_HEARTBEAT = produce_pb2.ProduceResponse(heartbeat=True)
_DIRECT = Forwarded(by_broker=False, min_version=None)

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, slots=True)
class ProduceSurroundings:
    """What all Produce streams of a listener work with."""

    router: PartitionRouter
    node_id: NodeId
    lease_held: Callable[[], bool]
    offload: Offload
    clock: Clock
    idle_ms: int
    """How long a stream may be silent before it gives a sign of life."""


class ProduceSessions:
    """All Produce streams of a listener."""

    def __init__(self, surroundings: ProduceSurroundings) -> None:
        self._surroundings = surroundings
        self._sessions: set[_Session] = set()
        self._is_draining = False

    async def serve(self, requests: AsyncIterator[memoryview], context: Context) -> None:
        """Serve one stream to its end.

        Raises:
            InvalidRequest: the client sent what is no request.
            Draining: the broker is to stop; everything taken was answered.
        """
        session = _Session(self._surroundings, context)
        self._sessions.add(session)
        try:
            if self._is_draining:
                session.drain()
            await session.run(requests)
        finally:
            self._sessions.discard(session)

    def drain(self) -> None:
        """Take no more batches; end each stream once what it took is answered."""
        self._is_draining = True
        for session in self._sessions:
            session.drain()


_Answer = tuple[produce_pb2.ProduceResponse, int | None]
"""An answer and the size of its request, or a heartbeat, which answers none."""


class _Lane:
    """The order of one partition on one stream."""

    __slots__ = ("failed", "last", "waiting_count")

    def __init__(self) -> None:
        self.failed: OttlaError | None = None
        self.last: asyncio.Future[None] | None = None
        """Done once the request taken last is past its append."""
        self.waiting_count = 0


class _Session:
    def __init__(self, surroundings: ProduceSurroundings, context: Context) -> None:
        self._around = surroundings
        self._context = context
        self._lanes: dict[tuple[str, bytes, int], _Lane] = {}
        self._answers: asyncio.Queue[_Answer] = asyncio.Queue()
        # A request is in flight until its answer is written: who doesn't read is held back.
        self._in_flight_count = 0
        self._in_flight_size = 0
        self._room = asyncio.Event()
        self._taking: asyncio.Timeout | None = None
        self._is_draining = False
        self._is_silent = True

    def drain(self) -> None:
        self._is_draining = True
        if self._taking is not None:
            self._taking.reschedule(asyncio.get_running_loop().time())

    async def run(self, requests: AsyncIterator[memoryview]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write_answers(), name="produce-answers")
                beats = group.create_task(self._beat(), name="produce-heartbeat")
                await self._take(requests, group)
                while self._in_flight_count:
                    self._room.clear()
                    await self._room.wait()
                await self._answers.join()
                writer.cancel()
                beats.cancel()
        except BaseExceptionGroup as failures:
            raise_expected(failures)
        if self._is_draining:
            raise Draining("this broker is shutting down; produce to the next leader")

    async def _take(self, requests: AsyncIterator[memoryview], group: asyncio.TaskGroup) -> None:
        try:
            async with asyncio.timeout(None) as self._taking:
                if self._is_draining:
                    return
                async for request in requests:
                    await self._admit(parse_request(request), group)
        except TimeoutError:
            if not self._is_draining:
                raise
        finally:
            self._taking = None

    async def _admit(self, message: ProduceMessage, group: asyncio.TaskGroup) -> None:
        """Start a request's way, once there is room for it."""
        if message.fields.heartbeat and not message.frames:
            return
        while (
            self._in_flight_count >= IN_FLIGHT_COUNT_MAX
            or self._in_flight_size >= IN_FLIGHT_SIZE_MAX
        ):
            self._room.clear()
            await self._room.wait()
        key = _lane_key(message.fields)
        lane = self._lanes.get(key)
        if lane is None:
            if len(self._lanes) >= LANES_MAX:
                raise InvalidRequest(f"more than {LANES_MAX} partitions have failed on this stream")
            lane = self._lanes[key] = _Lane()
        passed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        before, lane.last = lane.last, passed
        lane.waiting_count += 1
        self._in_flight_count += 1
        self._in_flight_size += message.size
        # Tasks begin in the order they are made, so requests reach their partitions in order.
        group.create_task(
            self._serve(message, key, lane, before=before, passed=passed), name="produce-request"
        )

    async def _serve(
        self,
        message: ProduceMessage,
        key: tuple[str, bytes, int],
        lane: _Lane,
        *,
        before: asyncio.Future[None] | None,
        passed: asyncio.Future[None],
    ) -> None:
        fields = message.fields
        answer = produce_pb2.ProduceResponse(correlation_id=fields.correlation_id)
        try:
            if before is not None and not before.done():
                await before
            acks, result = await self._append(message, lane, passed)
            if acks is not Acks.NONE:
                answer.base_offset = result.base_offset
            answer.append_time_ms = result.append_time_ms
            answer.log_start_offset = result.log_start_offset
        except OttlaError as error:
            named = restated(error, topic=key[0], partition=fields.partition)
            lane.failed = lane.failed or named
            answer.error.CopyFrom(to_proto(named))
        finally:
            if not passed.done():
                passed.set_result(None)
            lane.waiting_count -= 1
            if lane.waiting_count == 0 and lane.failed is None:
                del self._lanes[key]
        self._answers.put_nowait((answer, message.size))

    async def _append(
        self, message: ProduceMessage, lane: _Lane, passed: asyncio.Future[None]
    ) -> tuple[Acks, AppendResult]:
        """Append a request's batches in their turn. Raises the OttlaError to answer."""
        if lane.failed is not None:
            if not message.fields.resume_partition:
                # A copy: raised itself again and again, it would hold on to all it refused.
                raise restated(lane.failed)
            lane.failed = None
        terms = check_terms(message)
        where = await self._located(message.fields)
        around = self._around
        check_may_append(
            where.view, terms.acks, node_id=around.node_id, lease_held=around.lease_held()
        )
        batches = await ready_batches(
            message.frames,
            where.replica.config,
            offload=around.offload,
            now_ms=around.clock.wall_ms(),
        )
        # Whoever is woken by this runs after the append below has begun, and so taken its place.
        passed.set_result(None)
        try:
            placed = await where.replica.place(
                batches, acks=terms.acks, leader_epoch=terms.leader_epoch
            )
            if placed.committed is not None:
                async with asyncio.timeout(terms.timeout_ms / 1_000):
                    await placed.committed
        except TimeoutError:
            raise _timed_out(terms) from None
        except OttlaError as error:
            raise around.router.naming_leader(error, where.view) from error
        return terms.acks, placed.result

    async def _located(self, fields: produce_pb2.ProduceRequest) -> Local:
        router = self._around.router
        entry = router.topic(fields.topic, fields.topic_id)
        where = await router.locate(entry, fields.partition, forwarded=_DIRECT)
        if isinstance(where, Remote):
            error = NotLeader(f"this broker does not lead {fields.topic}-{fields.partition}")
            raise router.naming_leader(error, where.view)
        return where

    async def _write_answers(self) -> None:
        while True:
            answer, size = await self._answers.get()
            self._is_silent = False
            await self._context.write(answer)
            self._answers.task_done()
            if size is not None:
                self._in_flight_count -= 1
                self._in_flight_size -= size
                self._room.set()

    async def _beat(self) -> None:
        """Look twice as often as a heartbeat is due: cheaper than a time-out around every wait."""
        clock, interval_ms = self._around.clock, self._around.idle_ms // 2
        while True:
            self._is_silent = True
            await clock.sleep_until(clock.monotonic_ms() + interval_ms)
            # One that waits to be read is enough.
            if self._is_silent and self._answers.empty():
                self._answers.put_nowait((_HEARTBEAT, None))


def _lane_key(fields: produce_pb2.ProduceRequest) -> tuple[str, bytes, int]:
    """What tells partitions apart; of what no topic can be called, as much as tells that.

    A lane that has failed is kept, and its key with it.
    """
    topic = fields.topic[: TOPIC_NAME_CHARS_MAX + 1]
    return topic, fields.topic_id[: TOPIC_ID_SIZE + 1], fields.partition


def _timed_out(terms: ProduceTerms) -> AcksTimedOut:
    return AcksTimedOut(
        f"appended, but not acknowledged within {terms.timeout_ms} ms; it may yet be committed"
    )
