"""Errors survive the way through `Error` and `google.rpc.Status`, and bad ones do no harm."""

from __future__ import annotations

import pytest
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.error.v1 import error_pb2
from ottla.protocol import error_details
from ottla.protocol.errors import (
    BufferFull,
    FieldError,
    InvalidRequest,
    NotLeader,
    OttlaError,
    StatusCode,
    Throttled,
    UnknownReason,
    error_class,
    error_classes,
)

WIRE_REASONS = sorted(set(error_classes()) - {"BUFFER_FULL"})


def an_error(reason: str) -> OttlaError:
    """An error of the reason with each of its details filled."""
    cls = error_class(reason)
    details = {key: f"value of {key}" for key in cls.metadata_keys}
    return cls(
        f"it failed with {reason}",
        metadata={**details, "topic": "flights", "partition": 4},
        retry_after_ms=1500,
    )


def parts(error: OttlaError) -> tuple[object, ...]:
    """What two equal errors have in common."""
    return (
        type(error),
        error.reason,
        error.status,
        error.message,
        dict(error.metadata),
        error.retry_after_ms,
        error.field_errors,
    )


@pytest.mark.parametrize("reason", WIRE_REASONS)
def test_each_reason_survives_as_an_item(reason: str) -> None:
    error = an_error(reason)
    data = error_details.to_proto(error).SerializeToString()
    assert parts(error_details.from_proto(error_pb2.Error.FromString(data))) == parts(error)


@pytest.mark.parametrize("reason", WIRE_REASONS)
def test_each_reason_survives_as_a_status(reason: str) -> None:
    error = an_error(reason)
    data = error_details.to_status(error)
    assert status_pb2.Status.FromString(data).code == error.status
    received = error_details.from_status(data)
    assert received is not None
    assert parts(received) == parts(error)


def test_status_carries_the_details_that_other_languages_know() -> None:
    error = InvalidRequest(
        "two fields are wrong",
        field_errors=[FieldError("records[0].key", "too long"), FieldError("acks", "unknown")],
        retry_after_ms=2001,
    )
    status = status_pb2.Status.FromString(error_details.to_status(error))
    info = error_details_pb2.ErrorInfo()
    retry = error_details_pb2.RetryInfo()
    bad_request = error_details_pb2.BadRequest()
    assert [
        status.details[0].Unpack(info),
        status.details[1].Unpack(retry),
        status.details[2].Unpack(bad_request),
    ] == [True, True, True]
    assert (info.reason, info.domain) == ("INVALID_REQUEST", "ottla")
    assert (retry.retry_delay.seconds, retry.retry_delay.nanos) == (2, 1_000_000)
    assert [v.field for v in bad_request.field_violations] == ["records[0].key", "acks"]
    received = error_details.from_status(status.SerializeToString())
    assert received is not None
    assert received.field_errors == error.field_errors


def test_wait_of_zero_is_not_an_absent_wait() -> None:
    assert error_details.from_proto(error_details.to_proto(Throttled(""))).retry_after_ms is None
    waiting = error_details.to_proto(Throttled("", retry_after_ms=0))
    assert error_details.from_proto(waiting).retry_after_ms == 0
    received = error_details.from_status(error_details.to_status(Throttled("", retry_after_ms=0)))
    assert received is not None
    assert received.retry_after_ms == 0


def test_full_buffer_is_never_on_the_wire() -> None:
    with pytest.raises(ValueError, match="BUFFER_FULL is never on the wire"):
        error_details.to_proto(BufferFull("full"))
    with pytest.raises(ValueError, match="BUFFER_FULL is never on the wire"):
        error_details.to_status(BufferFull("full"))


def test_reason_of_a_newer_server_keeps_its_words_and_its_status_decides() -> None:
    newer = UnknownReason("new", reason="SPLIT_PENDING", status=StatusCode.UNAVAILABLE)
    received = error_details.from_status(error_details.to_status(newer))
    assert received is not None
    assert parts(received) == parts(newer)
    assert received.retriable


def test_number_of_a_newer_server_is_an_unknown_reason_and_passed_on_as_internal() -> None:
    received = error_details.from_proto(error_pb2.Error(reason=4711, message="new"))  # type: ignore[arg-type]  # a number of a newer server
    assert (type(received), received.reason) == (UnknownReason, "UNKNOWN_4711")
    assert not received.retriable
    assert error_details.to_proto(received).reason == error_pb2.ERROR_REASON_INTERNAL


def test_status_without_our_error_info_is_nobodys_reason() -> None:
    foreign = status_pb2.Status(code=14, message="connection refused")
    foreign.details.add().Pack(
        error_details_pb2.ErrorInfo(reason="NOT_LEADER", domain="proxy.example")
    )
    assert error_details.from_status(foreign.SerializeToString()) is None
    assert error_details.from_status(b"") is None
    assert error_details.from_status(b"\xff\xff") is None


def test_broken_detail_makes_the_status_nobodys() -> None:
    status = status_pb2.Status.FromString(error_details.to_status(NotLeader("moved")))
    status.details[0].value = b"\xff"
    assert error_details.from_status(status.SerializeToString()) is None


def test_status_code_that_grpc_does_not_have_is_unknown() -> None:
    newer = UnknownReason("new", reason="NEWER", status=StatusCode.ABORTED)
    status = status_pb2.Status.FromString(error_details.to_status(newer))
    status.code = 99
    received = error_details.from_status(status.SerializeToString())
    assert received is not None
    assert received.status is StatusCode.UNKNOWN


def test_huge_error_fits_into_trailers_and_a_topic_name_stays_whole() -> None:
    topic = "t" * 249
    error = InvalidRequest(
        "é" * 100_000,
        metadata={"topic": topic, **{f"key{n}": "é" * 10_000 for n in range(1000)}},
        field_errors=[FieldError(f"records[{n}]", "ü" * 10_000) for n in range(1000)],
    )
    data = error_details.to_status(error)
    assert len(data) < 5000
    received = error_details.from_status(data)
    assert received is not None
    assert received.topic == topic
    assert received.message == "é" * 512
    assert received.field_errors[0] == FieldError("records[0]", "ü" * 128)
    assert len(error_details.to_proto(error).SerializeToString()) < 5000


@given(st.text(st.characters()), st.dictionaries(st.text(st.characters()), st.text(), max_size=3))
def test_any_text_can_be_sent(message: str, metadata: dict[str, str]) -> None:
    error = NotLeader(message, metadata=metadata)
    data = error_details.to_status(error)
    assert error_details.from_status(data) is not None
    assert error_details.to_proto(error).reason == error_pb2.ERROR_REASON_NOT_LEADER


def test_lone_surrogates_become_question_marks() -> None:
    assert error_details.to_proto(NotLeader("a\ud800b")).message == "a?b"


@given(st.binary(max_size=200))
def test_any_bytes_are_a_status_or_none(data: bytes) -> None:
    received = error_details.from_status(data)
    assert received is None or isinstance(received, OttlaError)
