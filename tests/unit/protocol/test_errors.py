"""The table of errors: complete, and with the status and behaviour that style and proto name."""

from __future__ import annotations

import copy
import pickle

import pytest
from google.rpc import code_pb2

from ottla.api.error.v1 import error_pb2
from ottla.client.rpc_errors import TransportFailed
from ottla.protocol.batch import BatchIncomplete
from ottla.protocol.errors import (
    BufferFull,
    CorruptBatch,
    FieldError,
    InvalidRequest,
    NotLeader,
    OttlaError,
    StatusCode,
    UnknownReason,
    error_class,
    error_classes,
)

# reason: status, retriable, refresh_metadata
TABLE = """
INVALID_REQUEST INVALID_ARGUMENT - -
INVALID_TOPIC INVALID_ARGUMENT - -
INVALID_CONFIG INVALID_ARGUMENT - -
RECORD_TOO_LARGE INVALID_ARGUMENT - -
CORRUPT_BATCH INVALID_ARGUMENT - -
UNKNOWN_TOPIC_OR_PARTITION NOT_FOUND retriable refresh
TOPIC_EXISTS ALREADY_EXISTS - -
OFFSET_OUT_OF_RANGE OUT_OF_RANGE - -
NOT_LEADER ABORTED retriable refresh
STALE_LEADER_EPOCH ABORTED retriable refresh
NOT_COORDINATOR ABORTED retriable refresh
NOT_CONTROLLER ABORTED retriable refresh
REBALANCE_IN_PROGRESS ABORTED retriable -
STALE_MEMBER_EPOCH ABORTED retriable -
UNKNOWN_MEMBER FAILED_PRECONDITION - -
FENCED_MEMBER FAILED_PRECONDITION - -
FENCED_PRODUCER FAILED_PRECONDITION - -
OUT_OF_ORDER_SEQUENCE FAILED_PRECONDITION - -
INVALID_TXN_STATE FAILED_PRECONDITION - -
LEADER_NOT_AVAILABLE UNAVAILABLE retriable refresh
COORDINATOR_LOADING UNAVAILABLE retriable -
NOT_ENOUGH_REPLICAS UNAVAILABLE retriable -
STORAGE_OFFLINE UNAVAILABLE retriable refresh
DRAINING UNAVAILABLE retriable refresh
METADATA_STORE_UNAVAILABLE UNAVAILABLE retriable -
THROTTLED RESOURCE_EXHAUSTED retriable -
TOO_MANY_CONNECTIONS RESOURCE_EXHAUSTED retriable -
STORAGE_FULL RESOURCE_EXHAUSTED retriable -
STALE_CONTROLLER_EPOCH ABORTED - refresh
STALE_BROKER_EPOCH ABORTED - refresh
INELIGIBLE_REPLICA ABORTED - refresh
VERSION_CONFLICT ABORTED - -
UNKNOWN_GROUP NOT_FOUND - -
GROUP_NOT_EMPTY FAILED_PRECONDITION - -
CLUSTER_MISMATCH FAILED_PRECONDITION - -
DUPLICATE_NODE_ID FAILED_PRECONDITION - -
ACKS_TIMED_OUT DEADLINE_EXCEEDED retriable -
OUTCOME_UNKNOWN DEADLINE_EXCEEDED retriable -
CONDITION_FAILED FAILED_PRECONDITION - -
LOG_TRUNCATED ABORTED - -
NOT_AVAILABLE_HERE ABORTED retriable refresh
UNSTABLE_OFFSET UNAVAILABLE retriable -
UNSUPPORTED_VERSION UNIMPLEMENTED - -
NOT_AUTHENTICATED UNAUTHENTICATED - -
NOT_AUTHORIZED PERMISSION_DENIED - -
CORRUPT_LOG DATA_LOSS - -
INTERNAL INTERNAL - -
"""
ROWS = [tuple(line.split()) for line in TABLE.split("\n") if line]


def test_table_has_a_class_for_each_reason_of_the_proto_and_one_for_the_client_alone() -> None:
    on_the_wire = {name.removeprefix("ERROR_REASON_") for name, _ in error_pb2.ErrorReason.items()}
    on_the_wire.remove("UNSPECIFIED")
    assert set(error_classes()) == on_the_wire | {"BUFFER_FULL"}


def test_every_reason_on_the_wire_has_the_status_and_behaviour_of_the_table() -> None:
    actual = [
        (
            reason,
            cls.status.name,
            "retriable" if cls.retriable else "-",
            "refresh" if cls.refresh_metadata else "-",
        )
        for reason, cls in error_classes().items()
        if cls is not BufferFull
    ]
    assert sorted(actual) == sorted(ROWS)


@pytest.mark.parametrize("reason", sorted(error_classes()))
def test_class_is_named_for_its_reason(reason: str) -> None:
    cls = error_class(reason)
    assert cls.__name__ == reason.title().replace("_", "")
    assert cls.reason == reason
    assert issubclass(cls, OttlaError)


def test_status_codes_are_those_of_grpc() -> None:
    assert {code.name: code.value for code in StatusCode} == dict(code_pb2.Code.items())


def test_metadata_is_text_and_topic_and_partition_are_at_hand() -> None:
    error = NotLeader("elsewhere", metadata={"topic": "t", "partition": 3, "leader_id": 2})
    assert error.metadata == {"topic": "t", "partition": "3", "leader_id": "2"}
    assert (error.topic, error.partition) == ("t", 3)
    assert str(error) == error.message == "elsewhere"
    assert error.retry_after_ms is None


@pytest.mark.parametrize("text", ["", "-1", "x", "٣", "9" * 5000])
def test_partition_that_is_no_number_is_none(text: str) -> None:
    assert NotLeader("", metadata={"partition": text}).partition is None


def test_refinement_keeps_the_reason_of_its_base_and_stays_out_of_the_table() -> None:
    class Refined(CorruptBatch):
        pass

    assert Refined("").reason == "CORRUPT_BATCH"
    assert error_class("CORRUPT_BATCH") is CorruptBatch


def test_reason_cannot_be_entered_twice() -> None:
    with pytest.raises(TypeError, match="one class"):
        type("Again", (OttlaError,), {}, reason="NOT_LEADER", status=StatusCode.ABORTED)


@pytest.mark.parametrize("status", list(StatusCode))
def test_unknown_reason_is_retriable_by_its_status(status: StatusCode) -> None:
    error = UnknownReason("?", reason="NEWER", status=status)
    assert error_class("NEWER") is UnknownReason
    assert (error.reason, error.status) == ("NEWER", status)
    assert error.retriable is (status.name in {"ABORTED", "UNAVAILABLE"})


MADE = [
    NotLeader("elsewhere", metadata={"topic": "t", "partition": 3}, retry_after_ms=7),
    InvalidRequest("bad", field_errors=[FieldError("topics[0].name", "empty")]),
    UnknownReason("?", reason="NEWER", status=StatusCode.ABORTED),
    BatchIncomplete(size_needed=9, size_present=3),
    TransportFailed("gone"),
]


@pytest.mark.parametrize("error", MADE, ids=lambda error: type(error).__name__)
def test_errors_cross_processes_and_are_copied_whole(error: OttlaError) -> None:
    error.add_note("told to somebody")
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert (type(again), str(again), again.args) == (type(error), str(error), error.args)
        assert again.__dict__ == error.__dict__
        assert (again.reason, again.status) == (error.reason, error.status)
        with pytest.raises(TypeError):
            again.metadata["topic"] = "another"  # type: ignore[index]  # wrong on purpose
