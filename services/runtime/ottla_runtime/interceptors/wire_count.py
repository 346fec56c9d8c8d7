"""How many elements a request holds, found in its bytes before it is parsed.

A message of two bytes on the wire takes a hundred once parsed: 4 MB of empty ones take a server
200 MB. So they are counted first, without parsing: by the bytes that their tags begin with, which
may give too many but never too few; and only a request that this leaves in doubt is walked, field
by field and within bounds.

Owns the count. Pure. Does not own what is done about it (`request_parsing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto

ELEMENT_SIZE_MIN: Final = 2
"""Bytes of the smallest element: a tag and a length of zero."""

_SCAN_DEPTH_MAX: Final = 100
_VARINT_BITS_MAX: Final = 63
_LENGTH_DELIMITED: Final = 2
_FIXED_SIZES: Final = {1: 8, 5: 4}
_GROUP_ENDS: Final = (3, 4)
_MESSAGES: Final = (FieldDescriptorProto.TYPE_MESSAGE, FieldDescriptorProto.TYPE_GROUP)
_STRINGS: Final = (FieldDescriptorProto.TYPE_STRING, FieldDescriptorProto.TYPE_BYTES)


class TooMany(Exception):  # noqa: N818 - reads as the condition it is
    """More elements or fields than the walk was allowed to meet."""


class ElementCounter:
    """Counts the elements inside requests of one type: messages, and strings of lists."""

    def __init__(self, descriptor: Descriptor) -> None:
        self._elements = {each: _elements(each) for each in _reachable(descriptor)}
        self._descriptor = descriptor
        self._beginnings = {
            beginning
            for numbers in self._elements.values()
            for number in numbers
            for beginning in _beginnings(number)
        }

    def at_most(self, data: bytes) -> int:
        """A number that a request's elements don't exceed, found without looking closely."""
        occurring = sum(map(data.count, self._beginnings))
        return min(occurring, len(data) // ELEMENT_SIZE_MIN)

    def exceeds(self, data: bytes, element_count_max: int, *, field_count_max: int) -> bool:
        """Whether a request holds more elements, or fields in all, than it may.

        What is no protobuf at all does not: parsing says so better.
        """
        if self.at_most(data) <= element_count_max:
            return False
        walk = _Walk(
            data, self._elements, elements_left=element_count_max, fields_left=field_count_max
        )
        try:
            walk.through(0, len(data), self._descriptor, depth=0)
        except TooMany:
            return True
        except IndexError:
            return False
        return False


def _elements(descriptor: Descriptor) -> Mapping[int, Descriptor | None]:
    """The fields that hold elements, by number, with the type of those that are messages."""
    # The runtimes that are allowed name a field's label differently; the file's own words don't.
    proto = DescriptorProto()
    descriptor.CopyToProto(proto)
    return {
        field.number: descriptor.fields_by_number[field.number].message_type
        for field in proto.field
        if field.type in _MESSAGES
        or (field.type in _STRINGS and field.label == FieldDescriptorProto.LABEL_REPEATED)
    }


def _reachable(descriptor: Descriptor) -> Iterator[Descriptor]:
    seen = {descriptor}
    waiting = [descriptor]
    while waiting:
        outer = waiting.pop()
        yield outer
        new = {inner for inner in _elements(outer).values() if inner is not None} - seen
        seen |= new
        waiting += new


def _beginnings(number: int) -> tuple[int, int]:
    """The bytes that a tag of the field may begin with: a varint may be longer than it need be."""
    low = (number << 3 | _LENGTH_DELIMITED) & 0x7F
    return low, low | 0x80


class _Walk:
    """One pass over the fields of a request; raises IndexError where it is no protobuf."""

    def __init__(
        self,
        data: bytes,
        elements: Mapping[Descriptor, Mapping[int, Descriptor | None]],
        *,
        elements_left: int,
        fields_left: int,
    ) -> None:
        self._data = data
        self._elements = elements
        self._elements_left = elements_left
        self._fields_left = fields_left

    def through(self, position: int, end: int, descriptor: Descriptor, *, depth: int) -> None:
        """Count what stands between two positions. Raises TooMany."""
        elements = self._elements[descriptor]
        if depth > _SCAN_DEPTH_MAX:
            raise TooMany
        while position < end:
            self._fields_left -= 1
            if self._fields_left < 0:
                raise TooMany
            tag, position = self._varint(position)
            wire_type = tag & 7
            if wire_type == _LENGTH_DELIMITED:
                size, position = self._varint(position)
                number = tag >> 3
                if number in elements:
                    self._elements_left -= 1
                    if self._elements_left < 0:
                        raise TooMany
                    inner = elements[number]
                    if inner is not None and self._elements[inner]:
                        self.through(position, position + size, inner, depth=depth + 1)
                position += size
            elif wire_type == 0:
                position = self._varint(position)[1]
            elif wire_type not in _GROUP_ENDS:  # what is in a group counts as if it were outside
                position += _FIXED_SIZES.get(wire_type, len(self._data))
        if position > end:
            raise IndexError

    def _varint(self, position: int) -> tuple[int, int]:
        data = self._data
        value = data[position]
        position += 1
        if value < 0x80:
            return value, position
        value &= 0x7F
        shift = 7
        while True:
            byte = data[position]
            position += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value, position
            shift += 7
            if shift > _VARINT_BITS_MAX:
                raise IndexError
