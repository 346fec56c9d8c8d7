"""What etcd's failures mean: whether it may have been done decides what happens next."""

from __future__ import annotations

import grpc
import pytest

from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotAuthenticated,
    NotAuthorized,
    OttlaError,
    UnsupportedVersion,
)
from ottla_controller.store.etcd_failures import AnswerTooLargeError, Verdict, judge
from ottla_controller.store.interface import CompactedError, FutureRevisionError, LeaseLostError

Code = grpc.StatusCode


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (Code.UNAVAILABLE, "etcdserver: no leader"),
        (Code.RESOURCE_EXHAUSTED, "etcdserver: too many requests"),
        (Code.UNAVAILABLE, "etcdserver: rpc not supported for learner"),
    ],
)
def test_what_a_member_refuses_to_begin_may_be_done_elsewhere(code: Code, details: str) -> None:
    judged = judge(code, details)
    assert judged.verdict is Verdict.ELSEWHERE
    assert isinstance(judged.error, MetadataStoreUnavailable)


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (Code.UNAVAILABLE, ""),
        (Code.UNAVAILABLE, "Socket closed"),
        (Code.UNAVAILABLE, "etcdserver: request timed out, possibly due to connection lost"),
        (Code.UNAVAILABLE, "etcdserver: leader changed"),
        (Code.UNAVAILABLE, "etcdserver: server stopped"),
        (Code.DEADLINE_EXCEEDED, "Deadline Exceeded"),
        (Code.CANCELLED, ""),
        (Code.UNKNOWN, "raft proposal dropped"),
        (Code.INTERNAL, "stream terminated by RST_STREAM"),
        (Code.RESOURCE_EXHAUSTED, "something new"),
    ],
)
def test_whatever_may_come_after_the_request_was_passed_on_is_unknown(
    code: Code, details: str
) -> None:
    assert judge(code, details).verdict is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (Code.UNAUTHENTICATED, "etcdserver: invalid auth token"),
        (Code.UNAUTHENTICATED, ""),
        (Code.INVALID_ARGUMENT, "etcdserver: user name is empty"),
        (Code.INVALID_ARGUMENT, "etcdserver: revision of auth store is old"),
    ],
)
def test_a_token_that_does_not_hold_means_logging_in_again(code: Code, details: str) -> None:
    judged = judge(code, details)
    assert judged.verdict is Verdict.LOG_IN
    assert isinstance(judged.error, NotAuthenticated)


def test_a_full_etcd_may_have_done_what_it_refuses() -> None:
    judged = judge(Code.RESOURCE_EXHAUSTED, "etcdserver: mvcc: database space exceeded")
    assert judged.verdict is Verdict.DOUBTFUL
    assert "compact and defragment" in judged.error.message


@pytest.mark.parametrize(
    ("code", "details", "error"),
    [
        (
            Code.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision has been compacted",
            CompactedError,
        ),
        (
            Code.OUT_OF_RANGE,
            "etcdserver: mvcc: required revision is a future revision",
            FutureRevisionError,
        ),
        (Code.NOT_FOUND, "etcdserver: requested lease not found", LeaseLostError),
        (Code.PERMISSION_DENIED, "etcdserver: permission denied", NotAuthorized),
        (
            Code.INVALID_ARGUMENT,
            "etcdserver: authentication failed, invalid user ID or password",
            NotAuthenticated,
        ),
        (Code.UNIMPLEMENTED, "unknown service etcdserverpb.KV", UnsupportedVersion),
        (
            Code.RESOURCE_EXHAUSTED,
            "CLIENT: Received message larger than max (9 vs. 1)",
            AnswerTooLargeError,
        ),
        (Code.INVALID_ARGUMENT, "etcdserver: request is too large", MetadataStoreUnavailable),
    ],
)
def test_a_refusal_stands_and_says_why(code: Code, details: str, error: type[OttlaError]) -> None:
    judged = judge(code, details)
    assert judged.verdict is Verdict.FINAL
    assert type(judged.error) is error
