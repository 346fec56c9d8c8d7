"""Codecs: there and back, readable by other libraries, and bounded whatever the data claims."""

from __future__ import annotations

import gzip
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import cramjam
import lz4.frame
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from ottla.protocol.compression import (
    LEVELS,
    ZSTD_WINDOW_SIZE_MAX,
    Codec,
    codec_named,
    compress,
    decompress,
)
from ottla.protocol.errors import CorruptBatch, InvalidConfig, RecordTooLarge

from .examples import failure_of

CODECS = list(Codec)
COMPRESSING = CODECS[1:]
PLAIN = b"the quick brown fox " * 500
BOMB_SIZE = 256 * 1024 * 1024


def streamed_zstd(data: bytes, *, write_checksum: bool = False) -> bytes:
    """A zstd frame whose header does not say how large its content is."""
    stream = zstandard.ZstdCompressor(write_checksum=write_checksum).compressobj()
    return stream.compress(data) + stream.flush()


def test_numbers_are_those_of_the_attributes() -> None:
    assert [(codec.name, codec.value) for codec in Codec] == [
        ("NONE", 0), ("GZIP", 1), ("SNAPPY", 2), ("LZ4", 3), ("ZSTD", 4),
    ]  # fmt: skip


@pytest.mark.parametrize("codec", CODECS)
@given(st.binary(max_size=2000), st.integers(0, 5))
def test_data_comes_back_within_any_sufficient_bound(codec: Codec, data: bytes, room: int) -> None:
    compressed = compress(codec, data)
    assert decompress(codec, compressed, size_max=len(data) + room) == data


@pytest.mark.parametrize("codec", CODECS)
def test_any_buffer_is_taken(codec: Codec) -> None:
    for buffer in (PLAIN, bytearray(PLAIN), memoryview(PLAIN)[3:]):
        compressed = compress(codec, buffer)
        for source in (bytes(compressed), bytearray(compressed), memoryview(bytes(compressed))):
            assert decompress(codec, source, size_max=len(PLAIN)) == bytes(buffer)


@pytest.mark.parametrize("codec", CODECS)
def test_one_byte_more_than_the_bound_is_too_large(codec: Codec) -> None:
    compressed = compress(codec, PLAIN)
    assert decompress(codec, compressed, size_max=len(PLAIN)) == PLAIN
    for bound in (len(PLAIN) - 1, 1, 0):
        with pytest.raises(RecordTooLarge, match=f"more than {bound} bytes"):
            decompress(codec, compressed, size_max=bound)


@pytest.mark.parametrize("codec", COMPRESSING)
def test_cut_or_extended_data_is_corrupt(codec: Codec) -> None:
    compressed = bytes(compress(codec, PLAIN))
    for size in range(len(compressed)):
        with pytest.raises(CorruptBatch):
            decompress(codec, compressed[:size], size_max=len(PLAIN))
    for tail in (b"\x00", b"\x00" * 8, compressed):
        with pytest.raises(CorruptBatch):
            decompress(codec, compressed + tail, size_max=3 * len(PLAIN))


@pytest.mark.parametrize("codec", COMPRESSING)
@given(st.binary(max_size=100), st.integers(0, 30))
def test_any_bytes_decompress_or_fail_with_a_reason(codec: Codec, data: bytes, kept: int) -> None:
    for source in (data, bytes(compress(codec, PLAIN))[:kept] + data):
        failure = failure_of(partial(decompress, codec, source, size_max=5000))
        assert failure in {CorruptBatch, RecordTooLarge, None}


def bombs() -> dict[str, tuple[Codec, bytes]]:
    """Small data that claims to be, or is, 256 MiB of zeros."""
    zeros = bytes(BOMB_SIZE)
    return {
        "gzip": (Codec.GZIP, gzip.compress(zeros, 1)),
        "snappy": (Codec.SNAPPY, bytes(cramjam.snappy.compress_raw(zeros))),
        "snappy that only claims": (Codec.SNAPPY, b"\x80\x80\x80\x80\x01\x00a"),
        "lz4": (Codec.LZ4, lz4.frame.compress(zeros)),
        "lz4 without a size": (Codec.LZ4, lz4.frame.compress(zeros, store_size=False)),
        "zstd": (Codec.ZSTD, zstandard.ZstdCompressor().compress(zeros)),
        "zstd without a size": (Codec.ZSTD, streamed_zstd(zeros)),
    }


@pytest.mark.slow
def test_bombs_are_refused_before_the_memory_is_spent() -> None:
    size_max = 1024 * 1024
    for name, (codec, bomb) in bombs().items():
        tracemalloc.start()
        with pytest.raises(RecordTooLarge):
            decompress(codec, bomb, size_max=size_max)
        _, peak_size = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak_size < 4 * size_max, name


def test_zstd_frame_that_wants_a_huge_window_is_refused() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=27)
    stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    frame = stream.compress(PLAIN) + stream.flush()
    assert zstandard.get_frame_parameters(frame).window_size > ZSTD_WINDOW_SIZE_MAX
    with pytest.raises(CorruptBatch, match="zstd payload does not decompress"):
        decompress(Codec.ZSTD, frame, size_max=len(PLAIN))


@pytest.mark.parametrize("checksum", [True, False])
def test_frame_of_a_streaming_encoder_is_read_to_its_end_and_no_further(*, checksum: bool) -> None:
    frame = streamed_zstd(PLAIN, write_checksum=checksum)
    assert decompress(Codec.ZSTD, frame, size_max=len(PLAIN)) == PLAIN
    assert decompress(Codec.ZSTD, streamed_zstd(b""), size_max=0) == b""
    for damaged in (frame[:-1], frame + b"\x00", frame + frame):
        with pytest.raises(CorruptBatch):
            decompress(Codec.ZSTD, damaged, size_max=2 * len(PLAIN))


def test_zstd_frame_of_many_blocks_of_each_kind_is_read() -> None:
    noise = bytes((n * n * 2654435761 >> 13) & 0xFF for n in range(300_000))
    data = bytes(300_000) + noise + PLAIN
    for frame in (zstandard.ZstdCompressor().compress(data), streamed_zstd(data)):
        assert decompress(Codec.ZSTD, frame, size_max=len(data)) == data


def test_other_libraries_read_what_we_write_and_we_read_theirs() -> None:
    assert gzip.decompress(compress(Codec.GZIP, PLAIN)) == PLAIN
    assert bytes(cramjam.snappy.decompress_raw(compress(Codec.SNAPPY, PLAIN))) == PLAIN
    assert bytes(cramjam.lz4.decompress(compress(Codec.LZ4, PLAIN))) == PLAIN
    assert bytes(cramjam.zstd.decompress(compress(Codec.ZSTD, PLAIN))) == PLAIN
    theirs = {
        Codec.GZIP: gzip.compress(PLAIN),
        Codec.LZ4: bytes(cramjam.lz4.compress(PLAIN)),
        Codec.ZSTD: bytes(cramjam.zstd.compress(PLAIN)),
    }
    for codec, data in theirs.items():
        assert decompress(codec, data, size_max=len(PLAIN)) == PLAIN


def test_snappy_block_is_a_varint_of_the_size_and_literals_and_copies() -> None:
    block = b"\x05" + b"\x10hello"  # size 5; a literal of 5 bytes
    assert decompress(Codec.SNAPPY, block, size_max=5) == b"hello"


@pytest.mark.parametrize("codec", sorted(LEVELS))
def test_every_level_works_and_none_beyond(codec: Codec) -> None:
    levels = LEVELS[codec]
    for level in levels:
        compressed = compress(codec, PLAIN, level=level)
        assert decompress(codec, compressed, size_max=len(PLAIN)) == PLAIN
    for level in (levels[0] - 1, levels[-1] + 1):
        with pytest.raises(InvalidConfig, match=f"has levels {levels[0]} to {levels[-1]}"):
            compress(codec, PLAIN, level=level)


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.SNAPPY])
def test_codec_without_levels_refuses_one(codec: Codec) -> None:
    with pytest.raises(InvalidConfig, match="has no levels"):
        compress(codec, PLAIN, level=1)


def test_codec_is_found_by_its_name() -> None:
    assert [codec_named(name) for name in ("none", "gzip", "snappy", "lz4", "ZSTD")] == CODECS
    with pytest.raises(InvalidConfig, match="'brotli'; there are none, gzip, snappy, lz4, zstd"):
        codec_named("brotli")


def test_threads_do_not_disturb_each_other() -> None:
    payloads = [bytes((n,)) * 50_000 + PLAIN for n in range(32)]

    def there_and_back(data: bytes) -> bool:
        compressed = compress(Codec.ZSTD, data)
        return decompress(Codec.ZSTD, compressed, size_max=len(data)) == data

    with ThreadPoolExecutor(4) as executor:
        assert all(executor.map(there_and_back, payloads))
