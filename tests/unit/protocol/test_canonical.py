"""Batches of other writers: accepted in any valid encoding, refused where anything is lost."""

from __future__ import annotations

from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import read_batch, read_head, stamp, verify_crc
from ottla.protocol.canonical import canonical, is_canonical
from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptBatch, UnsupportedVersion
from ottla.protocol.records import encode_record_batch

from .examples import RECORDS, failure_of, stamped_frame


def message_of(frame: bytes | bytearray) -> bytes:
    """The encoded `RecordBatch` inside a frame."""
    head = read_head(frame)
    prefix_size = len(frame) - record_pb2.LogSegment.FromString(bytes(frame)).batches[0].ByteSize()
    assert head.frame_size == len(frame)
    return bytes(frame[prefix_size:])


def parsed_batch(codec: Codec = Codec.NONE) -> record_pb2.RecordBatch:
    """A batch as a foreign program holds it, without what only a leader may say."""
    batch = record_pb2.RecordBatch.FromString(message_of(stamped_frame(codec)))
    for field in ("base_offset", "leader_epoch", "append_time_ms", "header_crc32c"):
        batch.ClearField(field)
    return batch


def unstamped(codec: Codec = Codec.NONE) -> bytearray:
    return encode_record_batch(
        RECORDS, codec=codec, producer_id=41, producer_epoch=3, base_sequence=12
    )


@pytest.mark.parametrize("codec", list(Codec))
def test_own_frame_is_canonical_and_comes_out_the_same(codec: Codec) -> None:
    frame = unstamped(codec)
    assert is_canonical(message_of(frame))
    assert canonical(message_of(frame)) == frame
    assert canonical(message_of(stamped_frame(codec))) == frame


@pytest.mark.parametrize("codec", list(Codec))
def test_fields_left_out_are_filled_in(codec: Codec) -> None:
    batch = parsed_batch(codec)
    assert not is_canonical(batch.SerializeToString())
    assert canonical(batch.SerializeToString()) == unstamped(codec)
    batch.ClearField("crc32c")
    frame = canonical(batch.SerializeToString())
    verify_crc(read_batch(frame))
    assert frame == unstamped(codec)


@given(st.permutations(range(13)))
def test_fields_in_any_order_become_canonical(order: list[int]) -> None:
    batch = parsed_batch()
    pieces = []
    for descriptor, _ in batch.ListFields():
        single = record_pb2.RecordBatch()
        setattr(single, descriptor.name, getattr(batch, descriptor.name))
        pieces.append(single.SerializeToString())
    message = b"".join(pieces[index] for index in order if index < len(pieces))
    assert canonical(message) == unstamped()


def test_long_varint_is_not_canonical_yet_accepted() -> None:
    frame = encode_record_batch([(b"k", b"v", 5, [])])
    message = message_of(frame)
    payload_size = read_head(frame).payload_size
    assert message[86] == payload_size < 0x80
    longer = message[:86] + bytes((payload_size | 0x80, 0)) + message[87:]
    assert not is_canonical(longer)
    assert canonical(longer) == frame


def test_canonical_looks_at_the_layout_in_constant_time_and_not_at_the_checksum() -> None:
    message = bytearray(message_of(unstamped()))
    message[-1] ^= 1
    assert is_canonical(message)
    assert is_canonical(memoryview(bytes(message)))
    with pytest.raises(CorruptBatch, match="crc32c does not hold"):
        canonical(message)


@pytest.mark.parametrize("cut", [0, 1, 40, 86, 100])
def test_cut_message_is_not_canonical(cut: int) -> None:
    assert not is_canonical(message_of(unstamped())[:cut])


def test_canonical_frame_can_be_stamped() -> None:
    frame = canonical(parsed_batch().SerializeToString())
    stamp(frame, base_offset=1000, leader_epoch=7, append_time_ms=0)
    assert frame == stamped_frame()


@pytest.mark.parametrize("field", ["attributes", "record_count", "records"])
def test_missing_field_is_named(field: Literal["attributes", "record_count", "records"]) -> None:
    batch = parsed_batch()
    batch.ClearField(field)
    with pytest.raises(CorruptBatch, match=f"lacks the field {field}"):
        canonical(batch.SerializeToString())


def test_field_that_is_not_known_here_is_refused() -> None:
    message = parsed_batch().SerializeToString() + b"\x80\x01\x05"  # field 16, a varint
    with pytest.raises(UnsupportedVersion, match="field 16 is not known"):
        canonical(message)


def test_header_of_no_batch_is_refused() -> None:
    batch = parsed_batch()
    batch.attributes = 0x106
    with pytest.raises(UnsupportedVersion, match="codec 6"):
        canonical(batch.SerializeToString())
    batch.attributes = 0x100
    batch.record_count = 0
    with pytest.raises(CorruptBatch, match="record_count is 0"):
        canonical(batch.SerializeToString())


@given(st.binary(max_size=150))
def test_any_bytes_are_a_batch_or_an_error_with_its_reason(data: bytes) -> None:
    failure = failure_of(lambda: verify_crc(read_batch(canonical(data))))
    assert failure in {CorruptBatch, UnsupportedVersion, None}


def test_message_cut_at_any_byte_is_refused_with_its_reason() -> None:
    message = message_of(unstamped(Codec.GZIP))
    for size in range(len(message)):
        with pytest.raises(CorruptBatch):
            canonical(message[:size])
