"""Metadata between gRPC's form and HTTP/2 headers: both directions, pure.

Owns which headers are metadata at all, the base64 of `-bin` keys and what a handler may send.
Order and repeated keys are kept both ways. It knows nothing of streams or status; the reserved
headers it hides are read by `request_head`.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ottla_broker.transport.stream import Header

MetadataValue = str | bytes


class Metadatum(NamedTuple):
    """One pair of metadata: text, or bytes under a `-bin` key."""

    key: str
    value: MetadataValue


Metadata = tuple[Metadatum, ...]

_BINARY_SUFFIX = b"-bin"
_KEY = re.compile(rb"[0-9a-z_.-]+")
_TEXT = re.compile(rb"[\x20-\x7e]*")

# What the protocol says in headers belongs to the transport, not to handlers.
_HIDDEN = frozenset(
    {
        b"te",
        b"content-type",
        b"content-length",
        b"host",
        b"grpc-timeout",
        b"grpc-encoding",
        b"grpc-accept-encoding",
        b"grpc-message-type",
    }
)
_RESERVED = _HIDDEN | {
    b"grpc-status",
    b"grpc-message",
    b"connection",
    b"keep-alive",
    b"proxy-connection",
    b"transfer-encoding",
    b"upgrade",
}


class MalformedMetadata(ValueError):  # noqa: N818 - reads as the condition it is
    """A `-bin` header whose value is not base64."""


def received_metadata(headers: Iterable[Header]) -> Metadata:
    """The metadata among request headers.

    A `-bin` header may hold several values separated by commas, each with or without padding;
    every one becomes a pair of its own.

    Raises:
        MalformedMetadata: a `-bin` value is not base64.
    """
    pairs: list[Metadatum] = []
    for name, value in headers:
        if name in _HIDDEN or name.startswith(b":"):
            continue
        key = name.decode("ascii", "replace")
        if name.endswith(_BINARY_SUFFIX):
            pairs.extend(Metadatum(key, _unbase64(key, part)) for part in value.split(b","))
        else:
            pairs.append(Metadatum(key, _text(value)))
    return tuple(pairs)


def has_binary(names: Iterable[bytes]) -> bool:
    """Whether any header name holds binary metadata, which can be malformed."""
    return any(name.endswith(_BINARY_SUFFIX) for name in names)


def sendable_headers(metadata: Iterable[tuple[str, MetadataValue]]) -> Sequence[Header]:
    """Metadata of a handler as response headers.

    Raises:
        TypeError: a pair is not a key with text or bytes.
        ValueError: a key is malformed or the transport's own, or a value cannot travel as text.
    """
    return [_header(*_pair(item)) for item in metadata]


def _pair(item: object) -> tuple[str, MetadataValue]:
    if not isinstance(item, tuple) or len(item) != 2:
        raise TypeError(f"metadata must be pairs of key and value, not {item!r}")
    key, value = item
    if not isinstance(key, str) or not isinstance(value, str | bytes):
        raise TypeError(f"metadata {key!r} must map text to text or bytes")
    return key, value


def _header(key: str, value: MetadataValue) -> Header:
    name = key.encode("utf-8")
    if _KEY.fullmatch(name) is None:
        raise ValueError(f"metadata key {key!r} must consist of a-z, 0-9, '_', '.' and '-'")
    if name in _RESERVED:
        raise ValueError(f"metadata key {key!r} belongs to the transport")
    raw = value.encode("utf-8") if isinstance(value, str) else value
    if name.endswith(_BINARY_SUFFIX):
        return name, base64.b64encode(raw).rstrip(b"=")
    if _TEXT.fullmatch(raw) is None:
        raise ValueError(f"value of metadata {key!r} must be printable ASCII; use a '-bin' key")
    # HTTP/2 has no white space at the ends of a value, and gRPC lets it go.
    return name, raw.strip(b" ")


def _unbase64(key: str, value: bytes) -> bytes:
    bare = value.strip().rstrip(b"=")
    try:
        return base64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except binascii.Error:
        raise MalformedMetadata(f"metadata {key!r} is not base64") from None


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")
