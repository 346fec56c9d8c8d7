"""FetchResponses taken apart without parsing their batches: bulk bytes stay where they came in.

Owns finding the batches in a message and parsing what stands beside them. Brokers write the small
fields first and the batches last; any other order is understood too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from google.protobuf.message import DecodeError

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.errors import CorruptBatch

FETCH_METHOD: Final = "/ottla.api.fetch.v1.FetchService/Fetch"

_BATCHES_TAG = 0x0A
_VARINT_BITS_MAX = 63
_FIXED_SIZES = {1: 8, 5: 4}


@dataclass(frozen=True, slots=True)
class FetchedMessage:
    """A message: `batches` are frames one after the other, `fields` everything else."""

    batches: memoryview
    fields: fetch_pb2.FetchResponse
    size: int
    """Bytes of the whole message: what it takes of the credit if it carries batches."""


def parse_response(message: bytes) -> FetchedMessage:
    """Take a message apart.

    Raises:
        CorruptBatch: it is no FetchResponse.
    """
    view = memoryview(message)
    runs: list[tuple[int, int]] = []
    rest: list[memoryview] = []
    position, size = 0, len(view)
    try:
        while position < size:
            if view[position] == _BATCHES_TAG:
                length, start = _varint(view, position + 1)
                end = start + length
                if runs and runs[-1][1] == position:
                    runs[-1] = runs[-1][0], end
                else:
                    runs.append((position, end))
            else:
                end = _field_end(view, position)
                rest.append(view[position:end])
            position = end
        if position > size:
            raise IndexError
        fields = fetch_pb2.FetchResponse.FromString(b"".join(rest))
    except (IndexError, DecodeError):
        raise CorruptBatch("the broker sent what is no FetchResponse") from None
    return FetchedMessage(_joined(view, runs), fields, size)


def _joined(view: memoryview, runs: list[tuple[int, int]]) -> memoryview:
    if len(runs) == 1:
        return view[runs[0][0] : runs[0][1]]
    return memoryview(b"".join(view[start:end] for start, end in runs))


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position behind it; raises IndexError past the end."""
    value = shift = 0
    while True:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > _VARINT_BITS_MAX:
            raise IndexError


def _field_end(view: memoryview, position: int) -> int:
    tag, position = _varint(view, position)
    wire_type = tag & 7
    if wire_type == 0:
        return _varint(view, position)[1]
    if wire_type == 2:
        length, position = _varint(view, position)
        return position + length
    return position + _FIXED_SIZES.get(wire_type, len(view) + 1)
