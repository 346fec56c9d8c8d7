"""Which header lists are well-formed (RFC 9113, section 8): pure checks, each a sentence.

A malformed list is a fault of its stream alone. Rules of gRPC (method, content type, te) are
not here: they have answers of their own in gRPC.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from ottla_broker.transport.http2.errors import ErrorCode, StreamFault
from ottla_broker.transport.stream import Header

# token characters of RFC 9110 without upper case.
_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9a-z]+")
# No NUL, CR or LF anywhere, no white space at the ends.
_VALUE = re.compile(rb"(?:[^\x00\r\n\t ](?:[^\x00\r\n]*[^\x00\r\n\t ])?)?")
_CONNECTION_SPECIFIC = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)
_REQUEST_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))
_DIGITS = re.compile(rb"[0-9]{1,19}")
_ENTRY_OVERHEAD = 32


def list_size(headers: Sequence[Header]) -> int:
    """Size of a header list as SETTINGS_MAX_HEADER_LIST_SIZE counts it."""
    return sum(len(name) + len(value) + _ENTRY_OVERHEAD for name, value in headers)


def check_request(headers: Sequence[Header]) -> int | None:
    """Check a request's header list; returns its content-length if it has one.

    Raises:
        StreamFault: the list is malformed.
    """
    pseudo: dict[bytes, bytes] = {}
    content_length: int | None = None
    regular_seen = False
    for name, value in headers:
        if name[:1] == b":":
            _check_pseudo(name, pseudo, regular_seen=regular_seen)
            pseudo[name] = value
            if not _VALUE.fullmatch(value):
                raise _malformed(f"value of {name!r} with forbidden bytes")
            continue
        regular_seen = True
        _check_regular(name, value)
        if name == b"content-length":
            content_length = _parse_length(value, content_length)
    _check_complete(pseudo)
    return content_length


def check_trailers(headers: Sequence[Header]) -> None:
    """Check a trailer list.

    Raises:
        StreamFault: the list is malformed.
    """
    for name, value in headers:
        if name[:1] == b":":
            raise _malformed(f"pseudo-header {name!r} in trailers")
        _check_regular(name, value)


def _malformed(reason: str) -> StreamFault:
    return StreamFault(ErrorCode.PROTOCOL_ERROR, reason)


def _check_pseudo(name: bytes, seen: dict[bytes, bytes], *, regular_seen: bool) -> None:
    if regular_seen:
        raise _malformed(f"pseudo-header {name!r} after a regular one")
    if name not in _REQUEST_PSEUDO:
        raise _malformed(f"pseudo-header {name!r} in a request")
    if name in seen:
        raise _malformed(f"pseudo-header {name!r} twice")


def _check_regular(name: bytes, value: bytes) -> None:
    if not _NAME.fullmatch(name):
        raise _malformed(f"header name {name[:64]!r}")
    if not _VALUE.fullmatch(value):
        raise _malformed(f"value of {name[:64]!r} with forbidden bytes")
    if name in _CONNECTION_SPECIFIC:
        raise _malformed(f"connection-specific header {name!r}")
    if name == b"te" and value != b"trailers":
        raise _malformed("te other than trailers")


def _parse_length(value: bytes, earlier: int | None) -> int:
    if not _DIGITS.fullmatch(value):
        raise _malformed(f"content-length {value[:32]!r}")
    length = int(value)
    if earlier is not None and earlier != length:
        raise _malformed("two different content-lengths")
    return length


def _check_complete(pseudo: dict[bytes, bytes]) -> None:
    method = pseudo.get(b":method")
    if not method:
        raise _malformed("request without :method")
    if method == b"CONNECT":
        raise StreamFault(ErrorCode.CONNECT_ERROR, "this server is no proxy")
    if not pseudo.get(b":scheme"):
        raise _malformed("request without :scheme")
    if not pseudo.get(b":path"):
        raise _malformed("request without :path")
