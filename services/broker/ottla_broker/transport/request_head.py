"""What the headers of a request say to the transport: pure.

Owns the checks every gRPC request must pass before a handler is looked up, and the answer to one
that does not. Pseudo-headers are HTTP/2's to check; here they are only read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ottla_broker.transport import compression, status
from ottla_broker.transport.metadata import (
    MalformedMetadata,
    Metadata,
    has_binary,
    received_metadata,
)
from ottla_broker.transport.stream import Header
from ottla_broker.transport.timeouts import timeout_seconds

_CONTENT_TYPES = (b"application/grpc", b"application/grpc+proto")


@dataclass(frozen=True, slots=True)
class RequestHead:
    """A well-formed gRPC request's headers, read."""

    path: bytes
    timeout_seconds: float | None
    encoding: bytes | None
    """The encoding of compressed requests; None is identity."""
    accepted: bytes
    metadata: Metadata | None
    """Read already when some of it could have been malformed; None for not yet."""


class RequestRefused(Exception):  # noqa: N818 - reads as the event it is
    """A request that gets no handler; `answer` is the header block that ends it."""

    def __init__(self, answer: Sequence[Header]) -> None:
        super().__init__("request refused")
        self.answer = answer


def read_head(headers: Sequence[Header]) -> RequestHead:
    """The head of a request.

    Raises:
        RequestRefused: it is not a gRPC request, or one that cannot be served.
    """
    fields = dict(headers)
    if fields.get(b":method") != b"POST":
        raise RequestRefused(status.http_refusal(405, "gRPC requests are POST"))
    if fields.get(b"content-type") not in _CONTENT_TYPES:
        _check_content_type(fields.get(b"content-type", b""))
    if fields.get(b"te") != b"trailers":
        raise RequestRefused(status.http_refusal(400, "gRPC requests carry te: trailers"))
    encoding = fields.get(b"grpc-encoding")
    if encoding is not None:
        _check_encoding(encoding)
    return RequestHead(
        path=fields.get(b":path", b""),
        timeout_seconds=_timeout(fields.get(b"grpc-timeout")),
        encoding=None if encoding == compression.IDENTITY else encoding,
        accepted=fields.get(b"grpc-accept-encoding", b""),
        metadata=_metadata(headers) if has_binary(fields) else None,
    )


def _check_content_type(content_type: bytes) -> None:
    media_type = content_type.partition(b";")[0].strip().lower()
    if media_type not in _CONTENT_TYPES:
        text = f"content-type must be application/grpc, not {content_type[:64].decode('latin-1')}"
        raise RequestRefused(status.http_refusal(415, text))


def _check_encoding(encoding: bytes) -> None:
    if not compression.is_supported(encoding):
        text = f"Compression {encoding[:32].decode('latin-1')} is not supported"
        raise RequestRefused(status.trailers_only(status.UNIMPLEMENTED, text, ()))


def _timeout(value: bytes | None) -> float | None:
    if value is None:
        return None
    try:
        return timeout_seconds(value)
    except ValueError as error:
        raise RequestRefused(status.trailers_only(status.INTERNAL, str(error), ())) from None


def _metadata(headers: Sequence[Header]) -> Metadata:
    try:
        return received_metadata(headers)
    except MalformedMetadata as error:
        raise RequestRefused(status.trailers_only(status.INTERNAL, str(error), ())) from None
