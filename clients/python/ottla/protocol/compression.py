"""The five codecs of a batch's payload, bounded before memory is spent.

Owns: the numbers of the codecs (as in a batch's attributes), their formats and the bound on what
decompressing may produce. Does not own which codec a topic or producer chooses, nor in which
thread the work is done: every call here computes, none waits; the C libraries release the GIL.

Formats: gzip is one RFC 1952 member; snappy the raw block format, without framing; lz4 one LZ4
frame; zstd one RFC 8878 frame. Bytes after that member, block or frame make the payload corrupt.
"""

from __future__ import annotations

import threading
import zlib
from enum import IntEnum
from typing import Final

import cramjam
import lz4.frame
import zstandard

from ottla.protocol.errors import CorruptBatch, InvalidConfig, RecordTooLarge

Payload = bytes | bytearray | memoryview

ZSTD_WINDOW_SIZE_MAX: Final = 8 * 1024 * 1024
"""A frame that wants a larger window is refused; RFC 8878 asks decoders to hold this much."""

_ZSTD_BLOCK_RUN = 1  # a block of one repeated byte
_GZIP_WBITS = 31  # a gzip wrapper around a 32 KiB window


class Codec(IntEnum):
    """How a payload is compressed; the value is bits 0 to 2 of a batch's attributes."""

    NONE = 0
    GZIP = 1
    SNAPPY = 2
    LZ4 = 3
    ZSTD = 4


LEVELS: Final[dict[Codec, range]] = {
    Codec.GZIP: range(1, 10),
    Codec.LZ4: range(13),
    Codec.ZSTD: range(1, 23),
}
"""Levels a codec takes; snappy and none have no levels."""

_LEVELS_DEFAULT: Final[dict[Codec, int]] = {Codec.GZIP: 6, Codec.LZ4: 0, Codec.ZSTD: 3}


class _ThreadContexts(threading.local):
    """Contexts of zstd, which cost more to make than to use and belong to one thread each."""

    def __init__(self) -> None:
        self.compressors: dict[int, zstandard.ZstdCompressor] = {}
        self.decompressor = zstandard.ZstdDecompressor(max_window_size=ZSTD_WINDOW_SIZE_MAX)


_contexts = _ThreadContexts()


def codec_named(name: str) -> Codec:
    """The codec of a configured name: none, gzip, snappy, lz4 or zstd.

    Raises:
        InvalidConfig: for any other name.
    """
    try:
        return Codec[name.upper()]
    except KeyError:
        names = ", ".join(codec.name.lower() for codec in Codec)
        raise InvalidConfig(f"no codec is named {name[:32]!r}; there are {names}") from None


def compress(codec: Codec, data: Payload, *, level: int | None = None) -> bytes | memoryview:
    """Compresses a payload; with `Codec.NONE` the answer is a view of `data` itself.

    Raises:
        InvalidConfig: the codec doesn't have that level.
    """
    checked_level = _checked_level(codec, level)
    match codec:
        case Codec.NONE:
            return memoryview(data)
        case Codec.GZIP:
            compressor = zlib.compressobj(checked_level, zlib.DEFLATED, _GZIP_WBITS)
            return compressor.compress(data) + compressor.flush()
        case Codec.SNAPPY:
            return bytes(cramjam.snappy.compress_raw(data))
        case Codec.LZ4:
            return bytes(lz4.frame.compress(data, compression_level=checked_level))
        case Codec.ZSTD:
            return _zstd_compressor(checked_level).compress(data)


def decompress(codec: Codec, data: Payload, *, size_max: int) -> bytes | memoryview:
    """Decompresses a payload; with `Codec.NONE` the answer is a view of `data` itself.

    Never takes more memory than about `size_max` bytes and a codec's window, whatever the data
    claims.

    Raises:
        RecordTooLarge: it would be more than `size_max` bytes.
        CorruptBatch: it doesn't decode, is cut short, or has bytes after its end.
    """
    match codec:
        case Codec.NONE:
            if len(data) > size_max:
                raise _too_large(codec, size_max)
            return memoryview(data)
        case Codec.GZIP:
            return _gunzip(data, size_max)
        case Codec.SNAPPY:
            return _unsnappy(data, size_max)
        case Codec.LZ4:
            return _unlz4(data, size_max)
        case Codec.ZSTD:
            return _unzstd(data, size_max)


def _checked_level(codec: Codec, level: int | None) -> int:
    """The level to use; raises `InvalidConfig` for one the codec doesn't have."""
    if level is None:
        return _LEVELS_DEFAULT.get(codec, 0)
    levels = LEVELS.get(codec)
    if levels is None:
        raise InvalidConfig(f"codec {codec.name.lower()} has no levels; leave the level out")
    if level not in levels:
        raise InvalidConfig(
            f"codec {codec.name.lower()} has levels {levels[0]} to {levels[-1]}, not {level}"
        )
    return level


def _zstd_compressor(level: int) -> zstandard.ZstdCompressor:
    """This thread's compressor of the level."""
    compressor = _contexts.compressors.get(level)
    if compressor is None:
        compressor = _contexts.compressors[level] = zstandard.ZstdCompressor(level=level)
    return compressor


def _gunzip(data: Payload, size_max: int) -> bytes:
    """One gzip member; zlib grows its output as it goes, up to one byte over the bound."""
    decompressor = zlib.decompressobj(_GZIP_WBITS)
    try:
        plain = decompressor.decompress(data, size_max + 1)
    except zlib.error as error:
        raise _undecodable(Codec.GZIP, error) from None
    if len(plain) > size_max:
        raise _too_large(Codec.GZIP, size_max)
    if not decompressor.eof:
        raise _undecodable(Codec.GZIP, "it is cut short")
    if decompressor.unused_data:
        raise _undecodable(Codec.GZIP, "bytes follow its end")
    return plain


def _unsnappy(data: Payload, size_max: int) -> bytes:
    """One raw snappy block; its first bytes claim the size, so that is checked first."""
    if not data:
        raise _undecodable(Codec.SNAPPY, "it is empty")
    try:
        if cramjam.snappy.decompress_raw_len(data) > size_max:
            raise _too_large(Codec.SNAPPY, size_max)
        return bytes(cramjam.snappy.decompress_raw(data))
    except cramjam.DecompressionError as error:
        raise _undecodable(Codec.SNAPPY, error) from None


def _unlz4(data: Payload, size_max: int) -> bytes:
    """One LZ4 frame; beside the output it takes the frame's block size, 4 MiB at most."""
    decompressor = lz4.frame.LZ4FrameDecompressor()
    try:
        plain: bytes = decompressor.decompress(data, max_length=size_max + 1)
    except RuntimeError as error:
        raise _undecodable(Codec.LZ4, error) from None
    if len(plain) > size_max:
        raise _too_large(Codec.LZ4, size_max)
    if not decompressor.eof:
        raise _undecodable(Codec.LZ4, "it is cut short")
    if decompressor.unused_data:
        raise _undecodable(Codec.LZ4, "bytes follow its end")
    return plain


def _unzstd(data: Payload, size_max: int) -> bytes:
    """One zstd frame, with or without its content's size in the header."""
    try:
        frame = zstandard.get_frame_parameters(data)
        if _zstd_frame_size(data, has_checksum=frame.has_checksum) != len(data):
            raise _undecodable(Codec.ZSTD, "it is cut short, or bytes follow its end")
        if frame.content_size == zstandard.CONTENTSIZE_UNKNOWN:
            return _unzstd_of_unknown_size(data, size_max)
        if frame.content_size > size_max:
            raise _too_large(Codec.ZSTD, size_max)
        return _contexts.decompressor.decompress(data)
    except zstandard.ZstdError as error:
        raise _undecodable(Codec.ZSTD, error) from None


def _unzstd_of_unknown_size(data: Payload, size_max: int) -> bytes:
    """A frame made by a streaming encoder: read up to one byte over the bound."""
    with _contexts.decompressor.stream_reader(data) as reader:
        plain = reader.read(size_max + 1)
    if len(plain) > size_max:
        raise _too_large(Codec.ZSTD, size_max)
    return plain


def _zstd_frame_size(data: Payload, *, has_checksum: bool) -> int:
    """Size of the frame by its block headers, without decoding; past the end of a cut one.

    The library's own check for bytes after the frame is skipped whenever it shrinks its output,
    and its reader takes a cut frame for a short one.
    """
    size = zstandard.frame_header_size(data)
    is_last = False
    while not is_last and size < len(data):
        block_header = int.from_bytes(data[size : size + 3], "little")
        is_last = bool(block_header & 1)
        is_run = (block_header >> 1) & 3 == _ZSTD_BLOCK_RUN
        size += 3 + (1 if is_run else block_header >> 3)
    if not is_last:
        return len(data) + 1
    return size + 4 if has_checksum else size


def _too_large(codec: Codec, size_max: int) -> RecordTooLarge:
    return RecordTooLarge(
        f"the batch's {codec.name.lower()} payload is more than {size_max} bytes once decompressed"
    )


def _undecodable(codec: Codec, cause: object) -> CorruptBatch:
    return CorruptBatch(f"the batch's {codec.name.lower()} payload does not decompress: {cause}")
