"""What a failed call means to a client.

Owns turning a `grpc.RpcError` into an `OttlaError`: the one its details carry, or, where a proxy
or gRPC itself speaks, the one that makes the client do the right thing.
"""

from __future__ import annotations

from typing import Final, TypeVar

import grpc

from ottla.protocol.error_details import STATUS_TRAILER, from_status
from ottla.protocol.errors import OttlaError, OutcomeUnknown, StatusCode, UnknownReason

Answer = TypeVar("Answer")

_NUMBERS: Final = {code: StatusCode[code.name] for code in grpc.StatusCode}


class TransportFailed(UnknownReason):
    """The call broke below us, so the same call may succeed later; nothing says it was not run."""

    def __init__(self, message: str, *, status: StatusCode = StatusCode.UNAVAILABLE) -> None:
        super().__init__(message, reason="TRANSPORT_FAILED", status=status)
        self.retriable = True
        self.refresh_metadata = True


class Unreachable(TransportFailed):
    """No broker was ever reached at the addresses given."""


def error_of(error: grpc.RpcError) -> OttlaError:
    """The error that a failed call stands for."""
    assert isinstance(error, grpc.aio.AioRpcError), "the client calls through grpc.aio"
    for key, value in error.trailing_metadata() or ():
        if key == STATUS_TRAILER and isinstance(value, bytes):
            carried = from_status(value)
            if carried is not None:
                return carried
    status = _NUMBERS[error.code()]
    message = error.details() or status.name
    if status in {StatusCode.UNAVAILABLE, StatusCode.CANCELLED}:
        return TransportFailed(message, status=status)
    if status is StatusCode.DEADLINE_EXCEEDED:
        return OutcomeUnknown(f"no answer in time ({message})")
    return UnknownReason(message, reason=status.name, status=status)


def readable(answer: Answer) -> Answer:
    """The answer of a unary call.

    Raises:
        UnknownReason: it was no message of its type, for which gRPC gives None.
    """
    if answer is None:
        raise UnknownReason(
            "what answered is no broker: its answer can't be read",
            reason="INTERNAL",
            status=StatusCode.INTERNAL,
        )
    return answer
