"""What a failed call to etcd means: whether it may have been done, and what to do next.

Owns the reading of etcd's errors, which are told apart by their text alone. Pure: a status and its
text go in, a judgement comes out.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import grpc

from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotAuthenticated,
    NotAuthorized,
    OttlaError,
    UnsupportedVersion,
)
from ottla_controller.store.interface import CompactedError, FutureRevisionError, LeaseLostError

AUTH_NOT_ENABLED: Final = "authentication is not enabled"
_NOTHING_BEGUN: Final = (
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "etcdserver: not capable",
    "not supported for learner",
)
"""Refused by a member before it proposed anything to the others."""
_LOG_IN_AGAIN: Final = (
    "etcdserver: invalid auth token",
    "etcdserver: revision of auth store is old",
    "etcdserver: user name is empty",
)
_FULL: Final = "database space exceeded"
_TOO_LARGE_FOR_US: Final = "larger than max"


class Verdict(Enum):
    """What to do about a failed call."""

    ELSEWHERE = auto()
    """Nothing was done here; another member may do it."""
    UNKNOWN = auto()
    """Nobody can say whether it was done; what may be repeated is."""
    DOUBTFUL = auto()
    """It may have been done, and every member would say the same of another try."""
    LOG_IN = auto()
    """Nothing was done; the token is not valid, or there was none."""
    FINAL = auto()
    """Nothing was done, and the next try would end the same way."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """A verdict, and the error for whoever asked if it comes to that."""

    verdict: Verdict
    error: OttlaError


class AnswerTooLargeError(MetadataStoreUnavailable):
    """An answer is larger than what is taken at once; ask for less."""


class AttemptFailedError(Exception):
    """One try at one member failed. Never leaves the etcd store."""

    def __init__(self, judgement: Judgement) -> None:
        super().__init__(judgement.error.message)
        self.judgement = judgement


def not_begun(why: str) -> AttemptFailedError:
    """A try that failed before anything was sent."""
    return AttemptFailedError(Judgement(Verdict.ELSEWHERE, MetadataStoreUnavailable(why)))


def cut_off(why: str) -> AttemptFailedError:
    """A try that ended without an answer."""
    return AttemptFailedError(Judgement(Verdict.UNKNOWN, MetadataStoreUnavailable(why)))


def judge(code: grpc.StatusCode, details: str) -> Judgement:
    """What a status with its text means."""
    why = details or code.name
    if any(text in details for text in _NOTHING_BEGUN):
        return Judgement(Verdict.ELSEWHERE, MetadataStoreUnavailable(why))
    unauthenticated = code is grpc.StatusCode.UNAUTHENTICATED
    if unauthenticated or any(text in details for text in _LOG_IN_AGAIN):
        return Judgement(Verdict.LOG_IN, NotAuthenticated(why))
    if _FULL in details:
        # Of writes that are under way when the space runs out, etcd says so having done them.
        full = "etcd's database is full: compact and defragment it, then disarm its alarm"
        return Judgement(Verdict.DOUBTFUL, MetadataStoreUnavailable(full))
    refusal = _refusal(code, details)
    if refusal is not None:
        return Judgement(Verdict.FINAL, refusal)
    # What is left are broken connections, time that ran out, a member that stops, a leader that
    # changed: any of them may come after the request was passed on.
    return Judgement(Verdict.UNKNOWN, MetadataStoreUnavailable(why))


def _refusal(code: grpc.StatusCode, details: str) -> OttlaError | None:
    """The error that etcd's text stands for; None: it does not say that nothing was done."""
    match code:
        case grpc.StatusCode.OUT_OF_RANGE if "has been compacted" in details:
            return CompactedError(0)
        case grpc.StatusCode.OUT_OF_RANGE if "future revision" in details:
            return FutureRevisionError("etcd has not come to that revision yet")
        case grpc.StatusCode.NOT_FOUND if "lease not found" in details:
            return LeaseLostError("etcd does not know the lease any more")
        case grpc.StatusCode.PERMISSION_DENIED:
            return NotAuthorized(f"etcd: {details}; the user needs to read and write the prefix")
        case grpc.StatusCode.INVALID_ARGUMENT if "authentication failed" in details:
            return NotAuthenticated("etcd does not take this user name with this password")
        case grpc.StatusCode.RESOURCE_EXHAUSTED if _TOO_LARGE_FOR_US in details:
            return AnswerTooLargeError(f"etcd's answer is too large: {details}")
        case grpc.StatusCode.UNIMPLEMENTED:
            return UnsupportedVersion(f"this is not an etcd of version 3.4 or newer: {details}")
        case grpc.StatusCode.INVALID_ARGUMENT | grpc.StatusCode.FAILED_PRECONDITION:
            return MetadataStoreUnavailable(f"etcd refuses the request: {details}")
        case _:
            return None
