"""Offsets of places in partitions, asked of any broker.

Owns ListOffsets: its pages of queries, and errors of single partitions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import grpc

from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc
from ottla.client.calls import Attempt, Caller
from ottla.client.core.positions import TopicPartition, checked_time
from ottla.client.rpc_errors import readable
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import OttlaError, UnknownTopicOrPartition

QUERIES_MAX: Final = 1_000
PARTITION_MAX: Final = 2**32 - 1


class OffsetAndTime(NamedTuple):
    """A record's place and time."""

    offset: int
    timestamp_ms: int


async def list_offsets(
    caller: Caller,
    queries: Mapping[TopicPartition, fetch_pb2.OffsetQuery],
    *,
    isolation: fetch_pb2.Isolation.ValueType,
) -> dict[TopicPartition, OffsetAndTime | None]:
    """The places asked for; None where there is no record of that time or later.

    Raises:
        OttlaError: some partition could not be asked; nothing is known of the others then.
    """
    places = list(queries)
    found: dict[TopicPartition, OffsetAndTime | None] = {}
    for first in range(0, len(places), QUERIES_MAX):
        page = places[first : first + QUERIES_MAX]
        results = await caller.call(_asking([queries[place] for place in page], isolation))
        for place, result in zip(page, results, strict=True):
            found[place] = (
                OffsetAndTime(result.offset, result.timestamp_ms)
                if result.HasField("offset")
                else None
            )
    return found


def _asking(
    queries: Sequence[fetch_pb2.OffsetQuery], isolation: fetch_pb2.Isolation.ValueType
) -> Attempt[Sequence[fetch_pb2.OffsetResult]]:
    request = fetch_pb2.ListOffsetsRequest(queries=queries, isolation=isolation)

    async def ask(
        channel: grpc.aio.Channel, timeout_seconds: float
    ) -> Sequence[fetch_pb2.OffsetResult]:
        stub = fetch_pb2_grpc.FetchServiceStub(channel)
        response = readable(await stub.ListOffsets(request, timeout=timeout_seconds))
        if len(response.results) != len(queries):
            raise OttlaError(
                f"the broker answered {len(response.results)} results to {len(queries)} questions"
            )
        for result in response.results:
            if result.HasField("error"):
                raise from_proto(result.error)
        return response.results

    return ask


def query(
    place: TopicPartition,
    *,
    position: fetch_pb2.OffsetPosition.ValueType | None = None,
    timestamp_ms: int | None = None,
) -> fetch_pb2.OffsetQuery:
    """A query for a named place, or for a time.

    Raises:
        UnknownTopicOrPartition: no topic can have such a partition.
        InvalidRequest: no record can have such a time.
    """
    if not 0 <= place.partition <= PARTITION_MAX:
        raise UnknownTopicOrPartition(
            f"no topic has a partition {place.partition}", metadata=place._asdict()
        )
    message = fetch_pb2.OffsetQuery(topic=place.topic, partition=place.partition)
    if position is not None:
        message.position = position
    if timestamp_ms is not None:
        message.timestamp_ms = checked_time(timestamp_ms)
    return message
