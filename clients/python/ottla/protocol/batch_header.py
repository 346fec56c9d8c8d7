"""What the header of a record batch says, and what it may say.

Owns: `BatchHeader`, the bits of its attributes, and `check_header`. Does not own how it is laid
out in bytes or checksummed: that is `ottla.protocol.batch`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptBatch, UnsupportedVersion
from ottla.protocol.ids import OFFSET_MAX

FORMAT_VERSION: Final = 1

_CODEC_MASK = 0x07
_TRANSACTIONAL_BIT = 0x10
_CONTROL_BIT = 0x20
_VERSION_SHIFT = 8
_VERSION_MASK = 0xFF00
_KNOWN_BITS = _CODEC_MASK | _TRANSACTIONAL_BIT | _CONTROL_BIT | _VERSION_MASK
_INT32_MAX = 2**31 - 1


def pack_attributes(
    codec: Codec, *, is_transactional: bool = False, is_control: bool = False
) -> int:
    """The attributes of a batch of this format version."""
    return (
        FORMAT_VERSION << _VERSION_SHIFT
        | codec
        | (_TRANSACTIONAL_BIT if is_transactional else 0)
        | (_CONTROL_BIT if is_control else 0)
    )


@dataclass(frozen=True, slots=True)
class BatchHeader:
    """Fields 1 to 13 of a batch, as `record.proto` describes them."""

    base_offset: int
    leader_epoch: int
    append_time_ms: int
    header_crc32c: int
    crc32c: int
    attributes: int
    last_offset_delta: int
    record_count: int
    base_timestamp_ms: int
    max_timestamp_ms: int
    producer_id: int
    producer_epoch: int
    base_sequence: int

    @property
    def codec(self) -> Codec:
        """How the payload is compressed; raises `UnsupportedVersion` for an unknown number."""
        number = self.attributes & _CODEC_MASK
        try:
            return Codec(number)
        except ValueError:
            raise UnsupportedVersion(f"the batch's codec {number} is not known here") from None

    @property
    def is_transactional(self) -> bool:
        """Whether the batch belongs to a transaction."""
        return bool(self.attributes & _TRANSACTIONAL_BIT)

    @property
    def is_control(self) -> bool:
        """Whether the batch holds a transaction's marker, which applications never see."""
        return bool(self.attributes & _CONTROL_BIT)

    @property
    def format_version(self) -> int:
        """Version of the batch format."""
        return (self.attributes & _VERSION_MASK) >> _VERSION_SHIFT

    @property
    def last_offset(self) -> int:
        """Offset of the last record."""
        return self.base_offset + self.last_offset_delta

    @property
    def next_offset(self) -> int:
        """Offset after the batch."""
        return self.base_offset + self.last_offset_delta + 1


def check_header(header: BatchHeader) -> None:
    """Checks what a header says, apart from checksums and from the payload.

    Raises:
        UnsupportedVersion: another format version, an unknown codec or an unknown attribute.
        CorruptBatch: values that contradict each other or no batch can have.
    """
    if header.format_version != FORMAT_VERSION:
        raise UnsupportedVersion(
            f"the batch has format version {header.format_version}, known is {FORMAT_VERSION}"
        )
    if header.attributes & ~_KNOWN_BITS:
        raise UnsupportedVersion(f"the batch's attributes {header.attributes:#x} are not known")
    _ = header.codec
    if header.record_count < 1:
        raise CorruptBatch("the batch's record_count is 0, a batch has at least one record")
    if not header.record_count - 1 <= header.last_offset_delta <= _INT32_MAX:
        raise CorruptBatch(
            f"the batch's last_offset_delta {header.last_offset_delta} cannot be that of "
            f"{header.record_count} records"
        )
    if header.last_offset > OFFSET_MAX:
        raise CorruptBatch(f"the batch's base_offset {header.base_offset} is out of range")
    if header.producer_id < 0:
        raise CorruptBatch(f"the batch's producer_id {header.producer_id} is negative")
    if header.producer_id == 0 and (header.producer_epoch or header.base_sequence):
        raise CorruptBatch("the batch has a producer_epoch or base_sequence without producer_id")
