"""How errors travel: as an `Error` beside an item, or as the status of a failed call.

Owns: both directions of both forms. A failed call carries `google.rpc.Status` with `ErrorInfo`
(domain "ottla"), `RetryInfo` where a wait is meant, `BadRequest` for field errors; its bytes go
into the trailer `grpc-status-details-bin`. Does not own sending them, nor what to make of a
status that carries no reason of ours.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from ottla.api.error.v1 import error_pb2
from ottla.protocol.errors import (
    FieldError,
    OttlaError,
    StatusCode,
    UnknownReason,
    error_class,
)

DOMAIN: Final = "ottla"
STATUS_TRAILER: Final = "grpc-status-details-bin"

# A status travels in the trailers, for which peers commonly take 8 KiB in all, base64 included:
# text is cut so that an error about huge input never becomes a broken call.
MESSAGE_SIZE_MAX: Final = 1024
TEXT_SIZE_MAX: Final = 256
METADATA_SIZE_MAX: Final = 2048
FIELD_ERRORS_SIZE_MAX: Final = 1024

_ENUM_PREFIX = "ERROR_REASON_"
_RETRY_AFTER_MS_MAX = 2**32 - 1


def to_proto(error: OttlaError) -> error_pb2.Error:
    """The `Error` to put beside the item that failed; field errors do not travel in it.

    An `UnknownReason` that is passed on becomes INTERNAL: its number is not known here.

    Raises:
        ValueError: the reason is never on the wire (`BUFFER_FULL`).
    """
    reason = "INTERNAL" if isinstance(error, UnknownReason) else _wire_reason(error)
    message = error_pb2.Error(
        reason=error_pb2.ErrorReason.Value(_ENUM_PREFIX + reason),
        message=_text(error.message, MESSAGE_SIZE_MAX),
        metadata=_metadata(error.metadata),
    )
    if error.retry_after_ms is not None:
        message.retry_after_ms = _bounded_wait(error.retry_after_ms)
    return message


def from_proto(message: error_pb2.Error) -> OttlaError:
    """The error an item failed with; `UnknownReason` for a number this version does not know."""
    retry_after_ms = message.retry_after_ms if message.HasField("retry_after_ms") else None
    try:
        reason = error_pb2.ErrorReason.Name(message.reason).removeprefix(_ENUM_PREFIX)
    except ValueError:
        reason = f"UNKNOWN_{message.reason}"
    return _error_of(
        reason,
        StatusCode.UNKNOWN,
        message.message,
        metadata=message.metadata,
        retry_after_ms=retry_after_ms,
        field_errors=(),
    )


def to_status(error: OttlaError) -> bytes:
    """The serialized `google.rpc.Status` of a call that fails with the error.

    Raises:
        ValueError: the reason is never on the wire (`BUFFER_FULL`).
    """
    status = status_pb2.Status(
        code=int(error.status), message=_text(error.message, MESSAGE_SIZE_MAX)
    )
    info = error_details_pb2.ErrorInfo(
        reason=_wire_reason(error), domain=DOMAIN, metadata=_metadata(error.metadata)
    )
    status.details.add().Pack(info)
    if error.retry_after_ms is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromMilliseconds(_bounded_wait(error.retry_after_ms))
        status.details.add().Pack(retry)
    if error.field_errors:
        status.details.add().Pack(_bad_request(error.field_errors))
    return bytes(status.SerializeToString())


def from_status(data: bytes) -> OttlaError | None:
    """The error a call failed with, from its serialized `google.rpc.Status`.

    None where the status cannot be parsed or has no `ErrorInfo` of our domain: a proxy or gRPC
    itself speaks, and only the status code counts.
    """
    try:
        status = status_pb2.Status.FromString(data)
        info, retry, bad_request = _details(status)
    except DecodeError:
        return None
    if info is None:
        return None
    field_errors = () if bad_request is None else bad_request.field_violations
    return _error_of(
        info.reason,
        _status_code(status.code),
        status.message,
        metadata=info.metadata,
        retry_after_ms=None if retry is None else max(0, retry.retry_delay.ToMilliseconds()),
        field_errors=[FieldError(each.field, each.description) for each in field_errors],
    )


_WIRE_REASONS = {
    name.removeprefix(_ENUM_PREFIX) for name, number in error_pb2.ErrorReason.items() if number
}


def _wire_reason(error: OttlaError) -> str:
    if error.reason not in _WIRE_REASONS and not isinstance(error, UnknownReason):
        raise ValueError(f"{error.reason} is never on the wire")
    return error.reason


_Details = tuple[
    error_details_pb2.ErrorInfo | None,
    error_details_pb2.RetryInfo | None,
    error_details_pb2.BadRequest | None,
]


def _details(status: status_pb2.Status) -> _Details:
    """The details we know; raises `DecodeError` for a broken one."""
    info, retry, bad_request = None, None, None
    for detail in status.details:
        if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
            candidate = error_details_pb2.ErrorInfo.FromString(detail.value)
            info = candidate if candidate.domain == DOMAIN else info
        elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
            retry = error_details_pb2.RetryInfo.FromString(detail.value)
        elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
            bad_request = error_details_pb2.BadRequest.FromString(detail.value)
    return info, retry, bad_request


def _error_of(
    reason: str,
    status: StatusCode,
    message: str,
    *,
    metadata: Mapping[str, str],
    retry_after_ms: int | None,
    field_errors: Iterable[FieldError],
) -> OttlaError:
    """An instance of the reason's class."""
    known = error_class(reason)
    if known is UnknownReason:
        return UnknownReason(
            message,
            reason=reason,
            status=status,
            metadata=metadata,
            retry_after_ms=retry_after_ms,
            field_errors=field_errors,
        )
    return known(
        message, metadata=metadata, retry_after_ms=retry_after_ms, field_errors=field_errors
    )


def _bad_request(field_errors: Iterable[FieldError]) -> error_details_pb2.BadRequest:
    bad_request = error_details_pb2.BadRequest()
    for name, description in _within(field_errors, FIELD_ERRORS_SIZE_MAX):
        bad_request.field_violations.add(field=name, description=description)
    return bad_request


def _metadata(metadata: Mapping[str, str]) -> dict[str, str]:
    return dict(_within(metadata.items(), METADATA_SIZE_MAX))


def _within(pairs: Iterable[tuple[str, str]], size_max: int) -> Iterator[tuple[str, str]]:
    """The first pairs that fit into `size_max` bytes together, each text within its own bound."""
    size = 0
    for pair in pairs:
        name, value = (_text(text, TEXT_SIZE_MAX) for text in pair)
        size += len(name.encode()) + len(value.encode())
        if size > size_max:
            return
        yield name, value


def _text(text: str, size_max: int) -> str:
    """Cut to its bound in bytes, and without the lone surrogates that protobuf refuses."""
    encoded = text[:size_max].encode(errors="replace")
    return encoded[:size_max].decode(errors="ignore")


def _bounded_wait(retry_after_ms: int) -> int:
    return min(max(0, retry_after_ms), _RETRY_AFTER_MS_MAX)


def _status_code(code: int) -> StatusCode:
    try:
        return StatusCode(code)
    except ValueError:
        return StatusCode.UNKNOWN
