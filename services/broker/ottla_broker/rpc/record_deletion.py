"""DeleteRecords: partitions found, asked for at their leaders, again where a leader moved.

    items ─► checked ─► located ─┬─► led here: the log's start moves, durably
        ▲                        └─► led elsewhere: BrokerService of the leader, a call a broker
        └── NOT_LEADER and the like, until the deadline ◄──┘

Owns the course of a call and its results. Moving a start up to where it is already changes nothing,
so everything may be tried again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine, Mapping, Sequence
from typing import Any, Final

from ottla.api.admin.v1 import admin_pb2
from ottla.api.error.v1 import error_pb2
from ottla.internal.broker.v1 import broker_pb2
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    FieldError,
    InvalidRequest,
    LeaderNotAvailable,
    OttlaError,
    OutcomeUnknown,
)
from ottla.protocol.ids import TOPIC_NAME_CHARS_MAX, NodeId
from ottla_broker.rpc.broker_calls import BrokerCalls
from ottla_broker.rpc.forwarded_calls import Forwarded
from ottla_broker.rpc.partition_router import Local, PartitionRouter, Remote
from ottla_broker.rpc.session_errors import restated
from ottla_runtime.channels import Backoff
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy

ITEMS_MAX: Final = 1_000
HIGH_WATERMARK: Final = -1
"""The `before_offset` that stands for the high watermark."""

_DIRECT: Final = Forwarded(by_broker=False, min_version=None)
_BACKOFF: Final = Backoff(first_ms=50, longest_ms=1_000)
_PASSING: Final = frozenset(
    {
        error_pb2.ERROR_REASON_NOT_LEADER,
        error_pb2.ERROR_REASON_STALE_LEADER_EPOCH,
        error_pb2.ERROR_REASON_LEADER_NOT_AVAILABLE,
        error_pb2.ERROR_REASON_DRAINING,
    }
)

Item = admin_pb2.RecordsToDelete
Result = admin_pb2.DeleteRecordsResult
_Results = dict[int, Result]


class RecordDeletion:
    """Deletes records for the calls of one listener."""

    def __init__(
        self,
        router: PartitionRouter,
        brokers: BrokerCalls,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._router = router
        self._brokers = brokers
        self._clock = clock
        self._entropy = entropy

    async def delete(
        self, items: Sequence[Item], *, principal: str, deadline_ms: int
    ) -> list[Result]:
        """A result for every item, by way of the leaders.

        Raises:
            InvalidRequest: there are too many items.
        """
        results = asked_wrongly(items)
        pending = [place for place in range(len(items)) if place not in results]
        failure_count = 0
        while pending:
            left_seconds = self._left_seconds(deadline_ms)
            located = await self._located(
                items, pending, forwarded=_DIRECT, left_seconds=left_seconds, into=results
            )
            await self._delete_located(
                items, located, principal=principal, deadline_ms=deadline_ms, into=results
            )
            pending = [place for place in pending if may_pass(results[place])]
            failure_count += 1
            resume_ms = self._clock.monotonic_ms() + _BACKOFF.wait_ms(failure_count, self._entropy)
            if resume_ms >= deadline_ms:
                break
            if pending:  # where they are led is looked up anew: metadata comes by itself
                await self._clock.sleep_until(resume_ms)
        return [results[place] for place in range(len(items))]

    async def delete_here(
        self, items: Sequence[Item], *, forwarded: Forwarded, deadline_ms: int
    ) -> list[Result]:
        """A result for every item; what is not led here is said to be led elsewhere.

        Raises:
            InvalidRequest: there are too many items.
        """
        results = asked_wrongly(items)
        await self._router.caught_up(forwarded)
        pending = [place for place in range(len(items)) if place not in results]
        left_seconds = self._left_seconds(deadline_ms)
        located = await self._located(
            items, pending, forwarded=forwarded, left_seconds=left_seconds, into=results
        )
        await self._delete_located(
            items, located, principal="", deadline_ms=deadline_ms, into=results
        )
        return [results[place] for place in range(len(items))]

    def _left_seconds(self, deadline_ms: int) -> float:
        return max(1, deadline_ms - self._clock.monotonic_ms()) / 1_000

    async def _located(
        self,
        items: Sequence[Item],
        places: Sequence[int],
        *,
        forwarded: Forwarded,
        left_seconds: float,
        into: _Results,
    ) -> dict[int, Local | Remote]:
        """Where each partition is led; those that can't be found have their result."""
        located: dict[int, Local | Remote] = {}

        async def locate(place: int) -> None:
            item = items[place]
            try:
                entry = self._router.topic_of(item.topic)
                async with asyncio.timeout(left_seconds):
                    located[place] = await self._router.locate(
                        entry, item.partition, forwarded=forwarded
                    )
            except TimeoutError:
                into[place] = failed(item, LeaderNotAvailable("its leader is not ready yet"))
            except OttlaError as error:
                into[place] = failed(item, error)

        async with asyncio.TaskGroup() as group:
            for place in places:
                group.create_task(locate(place), name="locate-partition")
        return located

    async def _delete_located(
        self,
        items: Sequence[Item],
        located: Mapping[int, Local | Remote],
        *,
        principal: str,
        deadline_ms: int,
        into: _Results,
    ) -> None:
        elsewhere: dict[NodeId, list[int]] = {}
        left_seconds = self._left_seconds(deadline_ms)
        async with asyncio.TaskGroup() as group:
            for place, where in located.items():
                if isinstance(where, Remote):
                    elsewhere.setdefault(where.node_id, []).append(place)
                    continue
                work = self._move_start(items[place], where, left_seconds=left_seconds)
                group.create_task(_put(into, place, work), name="delete-records")
            for node_id, places in elsewhere.items():
                asked = {place: _by_id(items[place], located[place]) for place in places}
                asking = self._ask(
                    node_id, asked, principal=principal, left_seconds=left_seconds, into=into
                )
                group.create_task(asking, name="delete-records-at-leader")

    async def _move_start(self, item: Item, where: Local, *, left_seconds: float) -> Result:
        before = None if item.before_offset == HIGH_WATERMARK else item.before_offset
        replica = where.replica
        try:
            async with asyncio.timeout(left_seconds):
                start = await replica.delete_records(before)
        except TimeoutError:
            late = OutcomeUnknown("the new start isn't durable yet; it may yet become so")
            return failed(item, late, topic=replica.topic)
        except OttlaError as error:
            named = self._router.naming_leader(error, where.view)
            return failed(item, named, topic=replica.topic)
        return Result(topic=replica.topic, partition=item.partition, log_start_offset=start)

    async def _ask(
        self,
        node_id: NodeId,
        asked: Mapping[int, Item],
        *,
        principal: str,
        left_seconds: float,
        into: _Results,
    ) -> None:
        """Have a leader delete what it leads, and put its results in their places."""
        request = broker_pb2.DeleteReplicaRecordsRequest(partitions=asked.values())
        try:
            answer = await self._brokers.ask(
                node_id,
                request,
                broker_pb2.DeleteReplicaRecordsResponse,
                principal=principal,
                timeout_seconds=left_seconds,
            )
            if len(answer.results) != len(asked):
                raise OutcomeUnknown(f"the answer of broker {node_id} doesn't fit the request")
        except OttlaError as error:
            into |= {place: failed(item, error) for place, item in asked.items()}
        else:
            into |= zip(asked, answer.results, strict=True)


def _by_id(item: Item, where: Local | Remote) -> Item:
    """The item as it is passed on: with the id, so that no namesake is meant."""
    ref = admin_pb2.TopicRef(name=item.topic.name, topic_id=where.view.topic_id)
    return Item(topic=ref, partition=item.partition, before_offset=item.before_offset)


async def _put(into: _Results, place: int, work: Coroutine[Any, Any, Result]) -> None:
    into[place] = await work


def asked_wrongly(items: Sequence[Item]) -> _Results:
    """Results of items that can't be done whatever the cluster holds, by their place.

    Raises:
        InvalidRequest: there are too many items.
    """
    if len(items) > ITEMS_MAX:
        raise InvalidRequest(
            f"{len(items)} partitions are asked for; at most {ITEMS_MAX} may be at once",
            field_errors=[FieldError("partitions", f"at most {ITEMS_MAX}")],
        )
    counts = Counter(_meant(item) for item in items)
    twice = InvalidRequest("this partition is asked for more than once")
    return {
        place: failed(item, twice) for place, item in enumerate(items) if counts[_meant(item)] > 1
    }


def _meant(item: Item) -> tuple[str, bytes, int]:
    return item.topic.name, item.topic.topic_id, item.partition


def may_pass(result: Result) -> bool:
    """Whether a result is of the kind that a moving leader leaves, and worth another try."""
    return result.HasField("error") and result.error.reason in _PASSING


def failed(item: Item, error: OttlaError, *, topic: str = "") -> Result:
    """The result of an item that can't be done, with topic and partition in its details."""
    name = (topic or item.topic.name)[:TOPIC_NAME_CHARS_MAX]
    named = restated(error, topic=name, partition=item.partition)
    return Result(topic=name, partition=item.partition, error=to_proto(named))
