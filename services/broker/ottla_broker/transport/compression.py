"""Compression of single gRPC messages: gzip, deflate, identity; pure.

Owns names, choice and the bound on inflation. A message that claims little and unpacks to much is
cut off at the limit, before memory is spent on the rest. Batches have compression of their own;
this is the protocol's, for clients that ask.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Final

import grpc

from ottla_broker.transport.stream import MessageTooLarge

IDENTITY: Final = b"identity"
_WINDOW_BITS: Final = {b"gzip": 31, b"deflate": 15}
_NAMES: Final = {
    grpc.Compression.NoCompression: IDENTITY,
    grpc.Compression.Deflate: b"deflate",
    grpc.Compression.Gzip: b"gzip",
}


class CorruptCompression(ValueError):  # noqa: N818 - reads as the condition it is
    """Bytes that are not one whole stream of the announced encoding."""


def is_supported(encoding: bytes) -> bool:
    """Whether requests may come in this encoding."""
    return encoding == IDENTITY or encoding in _WINDOW_BITS


def response_encoding(wanted: grpc.Compression | None, accepted: bytes) -> bytes | None:
    """The encoding to answer in, or None for none.

    What the client does not list in `accepted` (its `grpc-accept-encoding`) is not used on it.
    """
    if wanted is None:
        return None
    name = _NAMES[wanted]
    if name == IDENTITY or name not in [item.strip() for item in accepted.split(b",")]:
        return None
    return name


def deflated(parts: Sequence[bytes | memoryview], encoding: bytes) -> bytes:
    """One message in `encoding`."""
    packer = zlib.compressobj(wbits=_WINDOW_BITS[encoding])
    pieces = [packer.compress(part) for part in parts]
    pieces.append(packer.flush())
    return b"".join(pieces)


def inflated(payload: memoryview, encoding: bytes, *, limit: int) -> bytes:
    """The message inside `payload`, at most `limit` bytes of it.

    Raises:
        MessageTooLarge: it unpacks to more than `limit`.
        CorruptCompression: it does not unpack, stops short, or has bytes behind its end.
    """
    unpacker = zlib.decompressobj(wbits=_WINDOW_BITS[encoding])
    try:
        message = unpacker.decompress(payload, limit + 1)
    except zlib.error as error:
        raise CorruptCompression(f"{encoding.decode()} message is corrupt: {error}") from None
    if len(message) > limit:
        raise MessageTooLarge(size=len(message), limit=limit)
    if not unpacker.eof:
        raise CorruptCompression(f"{encoding.decode()} message is cut short")
    if unpacker.unused_data:
        raise CorruptCompression(f"{encoding.decode()} message has bytes behind its end")
    return message
