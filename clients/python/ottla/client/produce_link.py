"""The stream to one broker that takes batches: written by one task, answers read by another.

    queues offered ─► next batch ─► encode ─► write ──► broker
                                                │ answers, in any order
    succeeded / failed ◄── by correlation id ◄──┘

Owns one broker's Produce stream through breaks and idle times. What becomes of a batch is its
queue's to decide; which broker a queue belongs to is the router's.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Protocol, cast

import grpc
from google.protobuf.message import DecodeError

from ottla.api.produce.v1 import produce_pb2
from ottla.client.batch_encoder import BatchEncoder
from ottla.client.clock import Clock
from ottla.client.core.addresses import Address
from ottla.client.core.outgoing_batch import Appended, OutgoingBatch
from ottla.client.core.partition_queue import PartitionQueue
from ottla.client.core.retries import Backoff
from ottla.client.failures import expected_error, stream_error
from ottla.client.liveness import Liveness
from ottla.client.produce_messages import (
    HEARTBEAT,
    PRODUCE_METHOD,
    RequestHead,
    produce_request,
)
from ottla.client.rpc_errors import TransportFailed
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import OttlaError

Stream = grpc.aio.StreamStreamCall[Any, Any]


@dataclass(frozen=True, slots=True)
class LinkTerms:
    """What all links of one producer have in common."""

    acks: produce_pb2.Acks.ValueType
    request_timeout_ms: int
    idle_ms: int
    encoder: BatchEncoder
    open_channel: Callable[[Address], grpc.aio.Channel]
    backoff: Backoff
    clock: Clock
    chance: random.Random


class LinkOwner(Protocol):
    """What a link asks of its router."""

    def target(self, queue: PartitionQueue, node_id: int) -> tuple[bytes, int] | None:
        """Topic id and leader epoch, if the queue is to be sent to this broker now."""
        ...

    def progressed(self, queue: PartitionQueue) -> None:
        """Batches of the queue were answered, so it may have more to send."""
        ...

    def refused(self, error: OttlaError) -> bool:
        """The leader refused a batch; True if the right one is known already."""
        ...

    def link_broke(self, node_id: int, error: OttlaError) -> None:
        """The broker can't be reached."""
        ...


class ProduceLink:
    """`run` is its task; everything else is called on the same loop."""

    def __init__(
        self, node_id: int, address: Address, *, owner: LinkOwner, terms: LinkTerms
    ) -> None:
        self.node_id = node_id
        self.address = address
        self._owner = owner
        self._terms = terms
        self._offered: deque[PartitionQueue] = deque()
        self._wake = asyncio.Event()
        self._sent: dict[int, tuple[PartitionQueue, OutgoingBatch]] = {}
        self._numbers = count(1)
        self._failure_count = 0
        self._is_done_writing = False

    def offer(self, queue: PartitionQueue) -> None:
        """Look at the queue when its turn comes."""
        if not queue.is_scheduled:
            queue.is_scheduled = True
            self._offered.append(queue)
            self._wake.set()

    async def run(self) -> None:
        """Serve offered queues for as long as the producer lives."""
        terms = self._terms
        while True:
            await self._wake.wait()
            if not self._offered:
                self._wake.clear()  # it was the last session that was woken
                continue
            error = await self._session()
            if error is None:
                continue
            self._failure_count += 1
            self._lose(error)
            self._owner.link_broke(self.node_id, error)
            wait_ms = terms.backoff.wait_ms(self._failure_count, chance=terms.chance.random())
            await terms.clock.sleep_until(terms.clock.monotonic_ms() + wait_ms)

    async def _session(self) -> OttlaError | None:
        """One stream from its opening to its end; None if it was idle and both sides agree."""
        async with self._terms.open_channel(self.address) as channel:
            self._is_done_writing = False
            call: Stream = channel.stream_stream(PRODUCE_METHOD)()
            liveness = Liveness(self._wake, stream="Produce")
            try:
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(
                        self._read(call, liveness), name="ottla-produce-answers"
                    )
                    watching = group.create_task(liveness.watch(), name="ottla-produce-liveness")
                    await self._write(call, liveness)
                    await reading
                    watching.cancel()
            except BaseExceptionGroup as failures:
                return expected_error(failures)
            finally:
                call.cancel()
        return None

    def _lose(self, error: OttlaError) -> None:
        terms = self._terms
        lost, self._sent = self._sent, {}
        queues = dict.fromkeys(queue for queue, _ in lost.values())
        offered, self._offered = self._offered, deque()
        for queue in offered:
            queue.is_scheduled = False
        for queue in queues:
            queue.link_lost(error, now_ms=terms.clock.monotonic_ms(), chance=terms.chance.random())
        for queue in dict.fromkeys([*queues, *offered]):
            self._owner.progressed(queue)

    # Writing

    async def _write(self, call: Stream, liveness: Liveness) -> None:
        idle_since_ms = self._terms.clock.monotonic_ms()
        while True:
            found = self._next()
            if found is None:
                now_ms = self._terms.clock.monotonic_ms()
                if self._sent:
                    idle_since_ms = now_ms
                elif now_ms - idle_since_ms >= self._terms.idle_ms:
                    self._is_done_writing = True
                    await call.done_writing()
                    return
                if liveness.owes_heartbeat:
                    liveness.said()
                    await _write_to(call, HEARTBEAT)
                    continue
                await self._wake.wait()
                continue
            liveness.said()
            await self._send(call, *found)
            idle_since_ms = self._terms.clock.monotonic_ms()

    def _next(self) -> tuple[PartitionQueue, OutgoingBatch, RequestHead] | None:
        now_ms = self._terms.clock.monotonic_ms()
        while self._offered:
            queue = self._offered.popleft()
            queue.is_scheduled = False
            target = self._owner.target(queue, self.node_id)
            if target is None:
                continue
            batch = queue.next_batch(self.node_id, now_ms)
            if batch is None:
                continue
            self.offer(queue)  # it may have more, after the others' turns
            return queue, batch, self._head(batch, target, now_ms)
        self._wake.clear()
        return None

    def _head(self, batch: OutgoingBatch, target: tuple[bytes, int], now_ms: int) -> RequestHead:
        topic_id, leader_epoch = target
        left_ms = batch.deadline_ms - now_ms
        return RequestHead(
            correlation_id=next(self._numbers),
            topic=batch.topic,
            topic_id=topic_id,
            partition=batch.partition,
            leader_epoch=leader_epoch,
            acks=self._terms.acks,
            timeout_ms=max(1, min(self._terms.request_timeout_ms, left_ms)),
            resumes=batch.resumes,
        )

    async def _send(
        self, call: Stream, queue: PartitionQueue, batch: OutgoingBatch, head: RequestHead
    ) -> None:
        self._sent[head.correlation_id] = queue, batch
        frame = await self._terms.encoder.frame(batch)
        await _write_to(call, produce_request(frame, head))

    # Reading

    async def _read(self, call: Stream, liveness: Liveness) -> None:
        while (message := await call.read()) is not grpc.aio.EOF:
            liveness.heard()
            response = _parsed(cast("bytes", message))
            if not response.heartbeat:
                self._answered(response)
        code = await call.code()
        if code is not grpc.StatusCode.OK:
            raise stream_error(
                grpc.aio.AioRpcError(
                    code,
                    await call.initial_metadata(),
                    await call.trailing_metadata(),
                    details=await call.details(),
                )
            )
        if not self._is_done_writing:
            raise TransportFailed("the broker ended the Produce stream")

    def _answered(self, response: produce_pb2.ProduceResponse) -> None:
        queue, batch = self._sent.pop(response.correlation_id, (None, None))
        if queue is None or batch is None:
            return  # its time was over before
        self._failure_count = 0
        if response.HasField("error"):
            self._refused(queue, batch, from_proto(response.error))
        else:
            base_offset = response.base_offset if response.HasField("base_offset") else None
            queue.succeeded(batch, Appended(base_offset, response.append_time_ms))
        self._owner.progressed(queue)

    def _refused(self, queue: PartitionQueue, batch: OutgoingBatch, error: OttlaError) -> None:
        terms = self._terms
        is_news = self._owner.refused(error)
        queue.failed(
            batch,
            error,
            now_ms=terms.clock.monotonic_ms(),
            chance=None if is_news else terms.chance.random(),
        )


def _parsed(message: bytes) -> produce_pb2.ProduceResponse:
    try:
        return produce_pb2.ProduceResponse.FromString(message)
    except DecodeError:
        raise TransportFailed("the broker sent what is no ProduceResponse") from None


async def _write_to(call: Stream, request: bytes) -> None:
    """Write to the stream, waiting while the broker takes no more.

    Raises:
        TransportFailed: the stream is over; its reader knows why.
    """
    try:
        await call.write(request)
    except asyncio.InvalidStateError:
        raise TransportFailed("the Produce stream is over") from None
