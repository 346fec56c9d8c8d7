"""How a call's outcome stands in headers: status, message and trailers, pure.

Owns the response headers every call shares and the percent-encoding of `grpc-message`. The
tuples are constants where they can be, so that a connection may cache their encoding.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import grpc

from ottla_broker.transport.stream import Header

OK: Final = 0
CANCELLED: Final = 1
UNKNOWN: Final = 2
DEADLINE_EXCEEDED: Final = 4
RESOURCE_EXHAUSTED: Final = 8
UNIMPLEMENTED: Final = 12
INTERNAL: Final = 13
UNAVAILABLE: Final = 14

_CODE_MAX = 16
# Clients bound the header list (often at 8 KiB): a long text must not cost the status itself.
_MESSAGE_BYTES_MAX = 4096
# What escaping a space at each end adds.
_ENDS_ESCAPED = 4

ACCEPT_ENCODING: Final[Header] = (b"grpc-accept-encoding", b"identity,deflate,gzip")
RESPONSE_HEADERS: Final[tuple[Header, ...]] = (
    (b":status", b"200"),
    (b"content-type", b"application/grpc"),
    ACCEPT_ENCODING,
)
OK_TRAILERS: Final[tuple[Header, ...]] = ((b"grpc-status", b"0"),)

_CODES: Final = tuple(b"%d" % code for code in range(_CODE_MAX + 1))
_ESCAPES: Final = tuple(
    bytes([byte]) if 0x20 <= byte <= 0x7E and byte != ord("%") else b"%%%02X" % byte
    for byte in range(256)
)


def code_number(code: object) -> int:
    """The number of a status code given as `grpc.StatusCode` or integer; UNKNOWN when unknown.

    Raises:
        grpc.aio.UsageError: `code` is neither.
    """
    if isinstance(code, grpc.StatusCode):
        return int(code.value[0])
    if isinstance(code, int):
        return code if 0 <= code <= _CODE_MAX else UNKNOWN
    raise grpc.aio.UsageError(f"not a gRPC status code: {code!r}")


def percent_encoded(message: str) -> bytes:
    """`message` as `grpc-message` carries it: UTF-8, all but printable ASCII escaped.

    So is a space at either end. A message beyond 4 KiB encoded is cut between characters.
    """
    encoded = b"".join([_ESCAPES[byte] for byte in message.encode("utf-8", "replace")])
    if len(encoded) > _MESSAGE_BYTES_MAX:
        encoded = _cut(message)
    return _without_bare_ends(encoded)


def _without_bare_ends(encoded: bytes) -> bytes:
    """Spaces at the ends escaped, where HTTP/2 allows none in a header's value."""
    if encoded[:1] == b" ":
        encoded = b"%20" + encoded[1:]
    if encoded[-1:] == b" ":
        encoded = encoded[:-1] + b"%20"
    return encoded


def _cut(message: str) -> bytes:
    pieces: list[bytes] = []
    room = _MESSAGE_BYTES_MAX - _ENDS_ESCAPED
    for character in message:
        piece = b"".join([_ESCAPES[byte] for byte in character.encode("utf-8", "replace")])
        room -= len(piece)
        if room < 0:
            break
        pieces.append(piece)
    return b"".join(pieces)


def status_trailers(code: int, details: str, metadata: Sequence[Header]) -> Sequence[Header]:
    """Trailers for a call whose response headers are sent already."""
    if code == OK and not details and not metadata:
        return OK_TRAILERS
    trailers: list[Header] = [(b"grpc-status", _CODES[code])]
    if details:
        trailers.append((b"grpc-message", percent_encoded(details)))
    trailers.extend(metadata)
    return trailers


def trailers_only(code: int, details: str, metadata: Sequence[Header]) -> Sequence[Header]:
    """The single header block of a call that sent nothing before its status."""
    return (*RESPONSE_HEADERS, *status_trailers(code, details, metadata))


def http_refusal(http_status: int, details: str) -> Sequence[Header]:
    """The answer to a request that is not gRPC: an HTTP status, and ours for a client that looks.

    The gRPC code is UNKNOWN for a foreign content type (what clients derive from 415 themselves)
    and INTERNAL for a request that breaks the protocol.
    """
    code = UNKNOWN if http_status == 415 else INTERNAL
    return (
        (b":status", b"%d" % http_status),
        (b"content-type", b"application/grpc"),
        *status_trailers(code, details, ()),
    )
