"""A producer as the client guide describes it: batches in order, over whatever breaks.

One stream a leader carries all its partitions; several batches of each are on their way at once.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from integration.client_guide.guide_batches import in_request
from integration.client_guide.guide_calls import (
    TRY_AGAIN,
    CallFailed,
    Failure,
    Waits,
    failure_of_item,
    finish,
    next_message,
    write,
)
from integration.client_guide.guide_metadata import Metadata

from ottla.api.produce.v1 import produce_pb2, produce_pb2_grpc

IN_FLIGHT_MAX = 5
Request = produce_pb2.ProduceRequest
_HEARTBEAT = Request(heartbeat=True)


class Lane:
    """The batches of one partition: waiting, on the wire, come back; in order. Pure."""

    def __init__(self, batches: Sequence[bytes]) -> None:
        self.batches = batches
        self.offsets: dict[int, int] = {}
        self.given_up: dict[int, str] = {}
        self.must_move = False
        """Not to be sent on this stream again: the leader, or a wait, has to be found first."""
        self._waiting = deque(range(len(batches)))
        self._sent: set[int] = set()
        self._back: set[int] = set()
        self._failed_at: int | None = None
        self._resumes = False

    @property
    def is_done(self) -> bool:
        return not self._waiting and not self._sent and not self._back

    @property
    def is_quiet(self) -> bool:
        """Nothing is on the wire, and nothing is to be sent here."""
        return not self._sent and (self.must_move or self.is_done)

    def next(self) -> tuple[int, bool] | None:
        """A batch to send now, and whether it resumes the partition on the stream."""
        if self._failed_at is not None or self.must_move:
            return None
        if not self._waiting or len(self._sent) >= IN_FLIGHT_MAX:
            return None
        number, resumes = self._waiting.popleft(), self._resumes
        self._resumes = False
        self._sent.add(number)
        return number, resumes

    def answered(self, number: int, outcome: int | Failure) -> None:
        """The leader said where a batch is, or why it isn't."""
        self._sent.remove(number)
        if isinstance(outcome, int):
            self.offsets[number] = outcome
        elif self._failed_at is not None and number > self._failed_at:
            self._back.add(number)  # refused for the one that failed before it
        else:
            self._failed_at = number
            if outcome.reason in TRY_AGAIN:
                self._back.add(number)
                self.must_move = True
            else:
                self.given_up[number] = outcome.reason
        self._settle()

    def stream_over(self) -> None:
        """What became of those on the wire nobody knows: they go out again, in order."""
        self._back |= self._sent
        self._sent.clear()
        self._failed_at = -1
        self._settle()
        self._resumes = self.must_move = False  # a new stream knows of no failure

    def _settle(self) -> None:
        if self._failed_at is not None and not self._sent:
            self._waiting.extendleft(sorted(self._back, reverse=True))
            self._back.clear()
            self._failed_at, self._resumes = None, True


class GuideProducer:
    """Sends batches of one topic, and knows what became of each."""

    def __init__(self, metadata: Metadata, topic: str) -> None:
        self._metadata = metadata
        self._topic = topic
        self._numbers = count(1)
        self.acknowledged_count = 0
        self.progressed = asyncio.Condition()

    async def send(self, batches: Mapping[int, Sequence[bytes]]) -> dict[int, Lane]:
        """Send batches by partition; returns when each is acknowledged or given up."""
        lanes = {partition: Lane(mine) for partition, mine in batches.items()}
        waits = Waits()
        while left := {p: lane for p, lane in lanes.items() if not lane.is_done}:
            before = self.acknowledged_count
            topic = await self._metadata.topic(self._topic)
            by_address: dict[str, dict[int, Lane]] = defaultdict(dict)
            for partition, lane in left.items():
                address = self._metadata.address(self._topic, partition)
                if address is not None:
                    by_address[address][partition] = lane
            async with asyncio.TaskGroup() as group:
                for address, mine in by_address.items():
                    session = self._session(address, topic.topic_id, mine)
                    group.create_task(session, name="guide-produce")
            if self.acknowledged_count > before:
                waits.succeeded()
            await self._metadata.wait(waits.next_seconds())
        return lanes

    async def _session(self, address: str, topic_id: bytes, lanes: Mapping[int, Lane]) -> None:
        """One stream, until its partitions are done, or have to go elsewhere."""
        channel = self._metadata.connections.to(address)
        stub: Any = produce_pb2_grpc.ProduceServiceStub(channel)
        call = stub.Produce()
        sent: dict[int, tuple[Lane, int]] = {}
        try:
            while not all(lane.is_quiet for lane in lanes.values()):
                await self._write_due(call, topic_id, lanes, sent=sent)
                await self._take(await next_message(call, _HEARTBEAT), sent)
            await finish(call)
        except CallFailed:
            pass  # whatever it was: everything unanswered is sent again
        finally:
            call.cancel()
            for lane in lanes.values():
                lane.stream_over()

    async def _write_due(
        self,
        call: Any,
        topic_id: bytes,
        lanes: Mapping[int, Lane],
        *,
        sent: dict[int, tuple[Lane, int]],
    ) -> None:
        for partition, lane in lanes.items():
            while (due := lane.next()) is not None:
                number, resumes = due
                correlation_id = next(self._numbers)
                sent[correlation_id] = lane, number
                request = Request.FromString(in_request(lane.batches[number]))
                request.MergeFrom(
                    Request(
                        correlation_id=correlation_id,
                        topic=self._topic,
                        topic_id=topic_id,
                        partition=partition,
                        leader_epoch=self._metadata.topics[self._topic].leaders[partition].epoch,
                        acks=produce_pb2.ACKS_ALL,
                        resume_partition=resumes,
                    )
                )
                await write(call, request)

    async def _take(
        self, answer: produce_pb2.ProduceResponse, sent: dict[int, tuple[Lane, int]]
    ) -> None:
        if answer.heartbeat:
            return
        lane, number = sent.pop(answer.correlation_id)
        if answer.HasField("error"):
            lane.answered(number, failure_of_item(answer.error))
            return
        lane.answered(number, answer.base_offset)
        async with self.progressed:
            self.acknowledged_count += 1
            self.progressed.notify_all()

    async def acknowledged(self, least: int) -> None:
        """Return once so many batches are acknowledged."""
        async with self.progressed:
            await self.progressed.wait_for(lambda: self.acknowledged_count >= least)
