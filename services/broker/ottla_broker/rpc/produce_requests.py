"""ProduceRequests as they come: batches found without copying or parsing, fields checked.

Owns finding the batches in a request's bytes, in whatever order a writer put its fields, and the
terms a request sets. Pure. Does not own the batches' contents: `produce_batches` looks into them,
and makes canonical ones of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from ottla.api.produce.v1 import produce_pb2
from ottla.protocol.errors import (
    FieldError,
    InvalidRequest,
    RecordTooLarge,
    UnsupportedVersion,
)
from ottla_broker.core.append_checks import Acks

BATCHES_SIZE_MAX: Final = 3_584 << 10
BATCHES_COUNT_MAX: Final = 1_000
FIELDS_COUNT_MAX: Final = 1_000
"""Fields beside the batches, those included that this version doesn't know."""
TIMEOUT_MS_MAX: Final = 600_000
TIMEOUT_MS_DEFAULT: Final = 30_000

_ACKS_KNOWN = frozenset(produce_pb2.Acks.values())
_BATCHES_TAG = 0x0A
_VARINT_BITS_MAX = 63
# Sizes of the fixed wire types; 0 is a varint, 2 has a length, 3 and 4 are not used any more.
_FIXED_SIZES = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class ProduceMessage:
    """A request taken apart: `frames` are views, each a tag, a length and an encoded batch."""

    frames: Sequence[memoryview]
    fields: produce_pb2.ProduceRequest
    size: int
    """Bytes of the whole request: what it takes of a stream's bounds."""

    @property
    def batches_size(self) -> int:
        """Bytes of the batches."""
        return sum(map(len, self.frames))


@dataclass(frozen=True, slots=True)
class ProduceTerms:
    """What a request asks for, checked."""

    acks: Acks
    timeout_ms: int
    leader_epoch: int | None


def parse_request(message: memoryview) -> ProduceMessage:
    """Take a request apart.

    Raises:
        InvalidRequest: it is not a ProduceRequest at all, or one of too many parts: taking them
            apart holds everybody else up.
    """
    frames: list[memoryview] = []
    rest: list[memoryview] = []
    position, size = 0, len(message)
    try:
        while position < size:
            if message[position] == _BATCHES_TAG:
                length, start = _varint(message, position + 1)
                end = start + length
                frames.append(message[position:end])
            else:
                end = _field_end(message, position)
                rest.append(message[position:end])
            position = end
            if len(frames) > BATCHES_COUNT_MAX or len(rest) > FIELDS_COUNT_MAX:
                raise InvalidRequest(
                    f"a ProduceRequest has at most {BATCHES_COUNT_MAX} batches and "
                    f"{FIELDS_COUNT_MAX} other fields"
                )
        if position > size:
            raise IndexError
        fields = produce_pb2.ProduceRequest.FromString(b"".join(rest))
    except (IndexError, DecodeError):
        raise InvalidRequest("the request cannot be parsed as a ProduceRequest") from None
    return ProduceMessage(frames, fields, size)


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it; raises IndexError past the end."""
    value = shift = 0
    while True:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > _VARINT_BITS_MAX:
            raise IndexError


def _field_end(message: memoryview, position: int) -> int:
    tag, position = _varint(message, position)
    wire_type = tag & 7
    if wire_type == 0:
        return _varint(message, position)[1]
    if wire_type == 2:
        length, position = _varint(message, position)
        return position + length
    return position + _FIXED_SIZES.get(wire_type, len(message) + 1)


def check_terms(message: ProduceMessage) -> ProduceTerms:
    """The request's terms.

    Raises:
        InvalidRequest: it has no batches, or a field is out of bounds.
        RecordTooLarge: its batches are too large together.
        UnsupportedVersion: it asks for what this version doesn't do.
    """
    fields = message.fields
    if not message.frames:
        raise InvalidRequest("a ProduceRequest has at least one batch")
    if (size := message.batches_size) > BATCHES_SIZE_MAX:
        raise RecordTooLarge(
            f"the request's batches have {size} bytes, at most {BATCHES_SIZE_MAX} may be"
        )
    if fields.HasField("expected_next_offset"):
        raise UnsupportedVersion("conditional appends are not known to this server")
    if fields.acks not in _ACKS_KNOWN:
        raise UnsupportedVersion(f"acks {fields.acks} is not known to this server")
    if fields.timeout_ms > TIMEOUT_MS_MAX:
        raise InvalidRequest(
            f"timeout_ms is {fields.timeout_ms}; at most {TIMEOUT_MS_MAX} may be waited",
            field_errors=[FieldError("timeout_ms", f"0 to {TIMEOUT_MS_MAX}")],
        )
    return ProduceTerms(
        acks=Acks.ALL if fields.acks == produce_pb2.ACKS_UNSPECIFIED else Acks(fields.acks),
        timeout_ms=fields.timeout_ms or TIMEOUT_MS_DEFAULT,
        leader_epoch=fields.leader_epoch if fields.HasField("leader_epoch") else None,
    )
