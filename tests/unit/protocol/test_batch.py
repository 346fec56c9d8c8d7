"""The canonical frame: what protobuf would write, read in constant time, and safe from damage."""

from __future__ import annotations

import struct
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
from crc32c import crc32c
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import (
    BATCH_HEAD_SIZE_MAX,
    BATCH_SIZE_MAX,
    BatchHeader,
    BatchIncomplete,
    check_header,
    encode_batch,
    encode_varint,
    iter_batches,
    pack_attributes,
    read_batch,
    read_head,
    stamp,
    verify_crc,
    verify_head,
    verify_header_crc,
)
from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptBatch, OttlaError, UnsupportedVersion

from .examples import RECORDS, failure_of, stamped_frame

PROTO_ROOT = Path(__file__).parents[3] / "proto"
SIZES = [0, 1, 38, 39, 127, 128, 16_293, 16_294, 16_384, 2_097_152]  # around each longer varint

headers = st.builds(
    BatchHeader,
    base_offset=st.integers(0, 2**63 - 1),
    leader_epoch=st.integers(0, 2**32 - 1),
    append_time_ms=st.integers(-(2**63), 2**63 - 1),
    header_crc32c=st.just(0),
    crc32c=st.just(0),
    attributes=st.builds(
        pack_attributes,
        st.sampled_from(Codec),
        is_transactional=st.booleans(),
        is_control=st.booleans(),
    ),
    last_offset_delta=st.integers(0, 2**32 - 1),
    record_count=st.integers(0, 2**32 - 1),
    base_timestamp_ms=st.integers(-(2**63), 2**63 - 1),
    max_timestamp_ms=st.integers(-(2**63), 2**63 - 1),
    producer_id=st.integers(-(2**63), 2**63 - 1),
    producer_epoch=st.integers(0, 2**32 - 1),
    base_sequence=st.integers(0, 2**32 - 1),
)


def frame_of(header: BatchHeader, payload: bytes) -> bytearray:
    """The frame that says what the header says, stamped."""
    frame = encode_batch(
        payload,
        codec=header.codec,
        record_count=header.record_count,
        last_offset_delta=header.last_offset_delta,
        base_timestamp_ms=header.base_timestamp_ms,
        max_timestamp_ms=header.max_timestamp_ms,
        producer_id=header.producer_id,
        producer_epoch=header.producer_epoch,
        base_sequence=header.base_sequence,
        is_transactional=header.is_transactional,
        is_control=header.is_control,
    )
    stamp(
        frame,
        base_offset=header.base_offset,
        leader_epoch=header.leader_epoch,
        append_time_ms=header.append_time_ms,
    )
    return frame


def check_everything(data: bytes | bytearray) -> None:
    """What a reader of untrusted bytes does: parse one whole frame and verify both checksums."""
    batch = read_batch(data)
    if batch.frame_size != len(data):
        raise CorruptBatch("bytes follow")
    verify_header_crc(batch)
    verify_crc(batch)


@given(headers, st.binary(max_size=300))
def test_frame_is_what_protobuf_writes_and_reads(header: BatchHeader, payload: bytes) -> None:
    frame = frame_of(header, payload)
    segment = record_pb2.LogSegment.FromString(bytes(frame))
    (parsed,) = segment.batches
    read = read_batch(frame)
    assert segment.SerializeToString() == frame
    assert parsed.records == read.payload == payload
    for name in BatchHeader.__dataclass_fields__:
        assert getattr(parsed, name) == getattr(read.header, name)
        if not name.endswith("crc32c"):
            assert getattr(read.header, name) == getattr(header, name)
    check_everything(frame)


@pytest.mark.parametrize("size", SIZES)
def test_head_of_any_frame_lies_within_its_largest_size(size: int) -> None:
    frame = encode_batch(
        bytes(size), codec=Codec.ZSTD, record_count=1, last_offset_delta=0, base_timestamp_ms=1,
        max_timestamp_ms=1,
    )  # fmt: skip
    stamp(frame, base_offset=9, leader_epoch=1, append_time_ms=0)
    head = verify_head(bytes(frame[:BATCH_HEAD_SIZE_MAX]))
    assert head == read_head(b"before" + frame, 6)
    assert head.frame_size == len(frame)
    assert head.payload_position + head.payload_size == len(frame)
    assert head.payload_size == size
    assert head.header.next_offset == 10


def test_largest_frame_of_the_format_has_a_head_of_the_largest_size() -> None:
    payload_size = BATCH_SIZE_MAX - BATCH_HEAD_SIZE_MAX + 5
    fields = bytes(read_batch(stamped_frame()).frame)[2:][1:86]
    head = b"\x0a" + encode_varint(BATCH_SIZE_MAX) + fields + b"\x7a" + encode_varint(payload_size)
    assert len(head) == BATCH_HEAD_SIZE_MAX
    assert read_head(head).payload_size == payload_size


def test_checksums_cover_what_the_format_says() -> None:
    frame = bytes(stamped_frame())
    batch = read_batch(frame)
    message = frame[3:]
    assert encode_varint(len(message)) == frame[1:3]
    (header_crc,) = struct.unpack_from("<I", message, 24)
    (crc,) = struct.unpack_from("<I", message, 29)
    assert crc == batch.header.crc32c == crc32c(message[33:])
    covered = frame[:3] + message[:23] + message[28:33]
    assert header_crc == batch.header.header_crc32c == crc32c(covered)


def test_stamp_leaves_the_producers_bytes_alone() -> None:
    frame = stamped_frame()
    before = read_batch(bytes(frame)).header
    stamp(memoryview(frame), base_offset=2**63 - 5, leader_epoch=8, append_time_ms=-1)
    after = read_batch(frame)
    assert after.header.crc32c == before.crc32c
    assert (after.header.base_offset, after.header.leader_epoch) == (2**63 - 5, 8)
    assert after.header.append_time_ms == -1
    check_everything(bytes(frame))


@pytest.mark.parametrize("bit", range(8))
def test_every_flipped_bit_of_a_frame_is_detected(bit: int) -> None:
    frame = stamped_frame(Codec.ZSTD)
    for position in range(len(frame)):
        frame[position] ^= 1 << bit
        with pytest.raises(CorruptBatch):
            check_everything(frame)
        frame[position] ^= 1 << bit
    check_everything(frame)


def test_every_replaced_byte_of_a_head_is_detected() -> None:
    frame = stamped_frame()
    for position in range(BATCH_HEAD_SIZE_MAX):
        kept = frame[position]
        for byte in range(256):
            frame[position] = byte
            if byte != kept:
                with pytest.raises(CorruptBatch):
                    check_everything(frame)
        frame[position] = kept
    check_everything(frame)


@given(st.integers(0), st.integers(0), st.binary(min_size=1, max_size=8))
def test_damage_anywhere_is_detected(where: int, cut: int, junk: bytes) -> None:
    frame = bytes(stamped_frame(Codec.LZ4))
    position = where % len(frame)
    end = position + cut % 9
    damaged = frame[:position] + junk + frame[end:]
    if damaged != frame:
        with pytest.raises(CorruptBatch):
            check_everything(damaged)


@pytest.mark.parametrize("codec", list(Codec))
def test_frame_cut_at_any_byte_is_incomplete_and_says_how_much_is_needed(codec: Codec) -> None:
    frame = bytes(stamped_frame(codec))
    for size in range(len(frame)):
        with pytest.raises(BatchIncomplete) as caught:
            read_batch(frame[:size])
        assert size < caught.value.size_needed <= len(frame)
        assert caught.value.reason == "CORRUPT_BATCH"


def test_fetching_what_is_needed_gets_to_the_whole_frame_in_few_steps() -> None:
    frame = bytes(stamped_frame())
    size, steps = 0, 0
    while True:
        try:
            batch = read_batch(frame[:size])
        except BatchIncomplete as incomplete:
            size, steps = incomplete.size_needed, steps + 1
            continue
        break
    assert batch.frame == frame
    assert steps <= 6


@given(st.binary(max_size=200))
def test_any_bytes_are_a_frame_incomplete_or_corrupt(data: bytes) -> None:
    assert failure_of(lambda: check_everything(data)) in {CorruptBatch, BatchIncomplete, None}


@given(st.binary(max_size=120))
def test_any_bytes_after_a_plausible_start_are_a_frame_incomplete_or_corrupt(data: bytes) -> None:
    for start in (b"\x0a", b"\x0a\x60", bytes(stamped_frame()[:40])):
        failure = failure_of(partial(read_head, start + data))
        assert failure in {CorruptBatch, BatchIncomplete, None}


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"\x00" * 100, "starts with byte 0x0a, not with 0x00"),
        (b"\x0a\x05" + b"\x00" * 100, "size 5 is outside"),
        (b"\x0a\xff\xff\xff\xff\x01" + b"\x00" * 100, "length of the batch is more than"),
        (b"\x0a\xe0\x00" + b"\x00" * 100, "not in canonical form"),
        (b"\x0a\x60" + b"\x00" * 100, "header is not in canonical form"),
    ],
)
def test_corrupt_head_says_what_is_wrong(data: bytes, words: str) -> None:
    with pytest.raises(CorruptBatch, match=words):
        read_head(data)


def test_payload_that_does_not_fill_the_batch_is_corrupt() -> None:
    frame = bytearray(stamped_frame(records=[(b"k", b"v", 5, [])]))
    frame[1] += 1
    with pytest.raises(CorruptBatch, match="does not fit its payload"):
        read_head(frame)


def test_batches_follow_each_other_and_views_share_the_buffer() -> None:
    frames = [bytes(stamped_frame(codec)) for codec in Codec]
    buffer = b"".join(frames)
    batches = list(iter_batches(buffer))
    assert [bytes(batch.frame) for batch in batches] == frames
    assert all(batch.frame.obj is buffer and batch.payload.obj is buffer for batch in batches)
    assert [batch.header.codec for batch in batches] == list(Codec)
    assert list(iter_batches(b"")) == []


def test_run_that_ends_inside_a_batch_yields_the_whole_ones_first() -> None:
    frame = bytes(stamped_frame())
    batches = iter_batches(frame + frame[:-1])
    assert next(batches).frame == frame
    with pytest.raises(BatchIncomplete):
        next(batches)


def test_attributes_are_the_bits_of_the_format() -> None:
    assert pack_attributes(Codec.NONE) == 0x100
    assert pack_attributes(Codec.ZSTD, is_transactional=True, is_control=True) == 0x134
    header = read_batch(stamped_frame(Codec.SNAPPY)).header
    assert (header.codec, header.format_version) == (Codec.SNAPPY, 1)
    assert not header.is_transactional
    assert not header.is_control


def header_with(**changes: int) -> BatchHeader:
    """The header of the example frame, with changes."""
    header = read_batch(stamped_frame()).header
    values = {name: getattr(header, name) for name in BatchHeader.__dataclass_fields__}
    return BatchHeader(**{**values, **changes})


def test_header_of_our_own_is_accepted() -> None:
    check_header(header_with())
    check_header(header_with(base_offset=2**63 - 1 - 3, last_offset_delta=3))
    check_header(header_with(last_offset_delta=2**31 - 1))
    check_header(header_with(producer_id=0, producer_epoch=0, base_sequence=0))


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"attributes": 0x000}, UnsupportedVersion, "format version 0"),
        ({"attributes": 0x200}, UnsupportedVersion, "format version 2"),
        ({"attributes": 0x108}, UnsupportedVersion, "attributes 0x108"),
        ({"attributes": 0x10100}, UnsupportedVersion, "attributes 0x10100"),
        ({"attributes": 0x105}, UnsupportedVersion, "codec 5"),
        ({"record_count": 0}, CorruptBatch, "record_count is 0"),
        ({"record_count": 5}, CorruptBatch, "last_offset_delta 3 cannot be that of 5"),
        ({"last_offset_delta": 2**31}, CorruptBatch, "last_offset_delta"),
        ({"base_offset": 2**63 - 3}, CorruptBatch, "base_offset"),
        ({"base_offset": 2**64 - 1}, CorruptBatch, "base_offset"),
        ({"producer_id": -1}, CorruptBatch, "producer_id -1"),
        ({"producer_id": 0}, CorruptBatch, "without producer_id"),
    ],
)
def test_header_that_no_batch_can_have_is_refused(
    changes: dict[str, int], error: type[OttlaError], words: str
) -> None:
    with pytest.raises(error, match=words) as caught:
        check_header(header_with(**changes))
    assert type(caught.value) is error


def test_batch_beyond_the_format_is_not_made() -> None:
    with pytest.raises(ValueError, match="is more than the format's"):
        encode_batch(
            bytes(BATCH_SIZE_MAX - 80),
            codec=Codec.NONE, record_count=1, last_offset_delta=0, base_timestamp_ms=0,
            max_timestamp_ms=0,
        )  # fmt: skip


@pytest.mark.parametrize("value", [0, 1, 127, 128, 300, 16_383, 16_384, 2**28 - 1, 2**64 - 1])
def test_varint_is_protobufs(value: int) -> None:
    encoded = record_pb2.PlainRecord(offset=value - 2**64 if value >= 2**63 else value)
    assert b"\x08" + encode_varint(value) == (encoded.SerializeToString() or b"\x08\x00")


def test_plain_protoc_prints_a_segment(tmp_path: Path) -> None:
    segment = tmp_path / "00000000000000001000.log"
    segment.write_bytes(stamped_frame() + stamped_frame(Codec.GZIP, RECORDS[:1]))
    command = [sys.executable, "-m", "grpc_tools.protoc", f"-I{PROTO_ROOT}"]
    command += ["--decode=ottla.api.record.v1.LogSegment", "ottla/api/record/v1/record.proto"]
    with segment.open("rb") as source:
        printed = subprocess.run(command, stdin=source, capture_output=True, check=True)
    lines = printed.stdout.decode().splitlines()
    assert lines.count("batches {") == 2
    assert lines.count("  base_offset: 1000") == 2
    assert "  attributes: 257" in lines
