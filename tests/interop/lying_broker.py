"""A broker that keeps records in memory and lies about them: what a program has to notice.

Only as much of the contracts as the programs of `clients/` call, and only one lie at a time.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.error.v1 import error_pb2
from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc
from ottla.api.produce.v1 import produce_pb2, produce_pb2_grpc
from ottla.api.record.v1 import record_pb2

CALLS_AT_ONCE = 8


class Lie(enum.Enum):
    """What is wrong with the broker."""

    NONE = "nothing"
    LOST = "the last record of a partition is lost"
    SWAPPED = "two records of a partition changed places"
    EMPTIED = "a record without a value comes back with an empty one"
    REFUSED = "one record of a call is refused, the others are taken"
    NOT_CREATED = "the topic is refused in an answer that succeeds"


class LyingBroker(
    admin_pb2_grpc.AdminServiceServicer,
    fetch_pb2_grpc.FetchServiceServicer,
    produce_pb2_grpc.ProduceServiceServicer,
):
    """Topics by name, each with its partitions' records."""

    def __init__(self, lie: Lie) -> None:
        self._lie = lie
        self._topics: dict[str, list[list[record_pb2.PlainRecord]]] = {}

    def CreateTopics(self, request: Any, context: Any) -> admin_pb2.CreateTopicsResponse:
        result = admin_pb2.CreateTopicResult()
        if self._lie is Lie.NOT_CREATED:
            result.error.reason = error_pb2.ERROR_REASON_INVALID_TOPIC
            result.error.message = "not this one"
        for topic in request.topics:
            self._topics[topic.name] = [[] for _ in range(topic.partition_count)]
        return admin_pb2.CreateTopicsResponse(results=[result])

    def DeleteTopics(self, request: Any, context: Any) -> admin_pb2.DeleteTopicsResponse:
        for topic in request.topics:
            del self._topics[topic.name]
        return admin_pb2.DeleteTopicsResponse(results=[admin_pb2.DeleteTopicResult()])

    def Publish(self, request: Any, context: Any) -> produce_pb2.PublishResponse:
        self._topics[request.topic][request.partition].extend(request.records)
        results = [produce_pb2.PublishResult(offset=0) for _ in request.records]
        if self._lie is Lie.REFUSED:
            results[-1] = produce_pb2.PublishResult()
            results[-1].error.reason = error_pb2.ERROR_REASON_NOT_ENOUGH_REPLICAS
            results[-1].error.message = "one is missing"
        return produce_pb2.PublishResponse(results=results)

    def Read(self, request: Any, context: Any) -> Iterator[fetch_pb2.ReadResponse]:
        if request.topic not in self._topics:
            _refuse(context)
        yield fetch_pb2.ReadResponse(
            records=self._told(self._topics[request.topic][request.partition])
        )

    def _told(self, records: list[record_pb2.PlainRecord]) -> list[record_pb2.PlainRecord]:
        if self._lie is Lie.LOST:
            return records[:-1]
        if self._lie is Lie.SWAPPED:
            return [*records[1::-1], *records[2:]]
        if self._lie is Lie.EMPTIED:
            for record in records:
                record.value = record.value  # present from here on
        return records


def _refuse(context: Any) -> None:
    info = error_details_pb2.ErrorInfo(reason="UNKNOWN_TOPIC_OR_PARTITION", domain="ottla")
    detail = any_pb2.Any()
    detail.Pack(info)
    status = status_pb2.Status(code=5, message="no such topic", details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.NOT_FOUND, "no such topic")


@contextmanager
def lying_broker(lie: Lie) -> Iterator[str]:
    """Where it answers, for the block."""
    with ThreadPoolExecutor(CALLS_AT_ONCE) as pool:
        server = grpc.server(pool)
        broker = LyingBroker(lie)  # type: ignore[abstract] # gRPC answers the other calls
        admin_pb2_grpc.add_AdminServiceServicer_to_server(broker, server)
        fetch_pb2_grpc.add_FetchServiceServicer_to_server(broker, server)
        produce_pb2_grpc.add_ProduceServiceServicer_to_server(broker, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.stop(None).wait()
