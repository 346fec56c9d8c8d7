"""Answers to Publish: a result for every record, in the order of the request.

Owns putting together what became of each partition's records. Pure; with very many records work
for another thread.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ottla.api.error.v1 import error_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla_broker.rpc.publish_plan import PartitionGroup


@dataclass(frozen=True, slots=True)
class Appended:
    """Records of a group got offsets in a row; `base_offset` is None where none is told."""

    base_offset: int | None
    append_time_ms: int
    now_ms: int


@dataclass(frozen=True, slots=True)
class Failed:
    """Nothing of a group was appended, or it isn't known."""

    error: error_pb2.Error


@dataclass(frozen=True, slots=True)
class Answered:
    """Another broker answered for a group, a result a record."""

    results: Sequence[produce_pb2.PublishResult]


GroupOutcome = Appended | Failed | Answered


def response_of(
    request: produce_pb2.PublishRequest,
    outcomes: Iterable[tuple[PartitionGroup, GroupOutcome]],
    *,
    topic_id: bytes,
) -> produce_pb2.PublishResponse:
    """The response that tells what became of every record."""
    results: list[produce_pb2.PublishResult | None] = [None] * len(request.records)
    for group, outcome in outcomes:
        for index, place in enumerate(group.places):
            results[place] = _result(request, group, outcome, index=index, place=place)
    return produce_pb2.PublishResponse(
        results=[result for result in results if result is not None], topic_id=topic_id
    )


def _result(
    request: produce_pb2.PublishRequest,
    group: PartitionGroup,
    outcome: GroupOutcome,
    *,
    index: int,
    place: int,
) -> produce_pb2.PublishResult:
    match outcome:
        case Answered(results):
            return results[index]
        case Failed(error):
            told = error if index == 0 else error_pb2.Error(reason=error.reason)
            return produce_pb2.PublishResult(partition=group.partition, error=told)
        case Appended(base_offset, append_time_ms, now_ms):
            own_ms = request.records[place].timestamp_ms
            return produce_pb2.PublishResult(
                partition=group.partition,
                offset=None if base_offset is None else base_offset + index,
                timestamp_ms=append_time_ms or (own_ms if own_ms > 0 else now_ms),
            )
