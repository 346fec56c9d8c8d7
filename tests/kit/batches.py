"""Batches as a producer would send them, for tests of whoever stores or serves them."""

from __future__ import annotations

from collections.abc import Sequence

from ottla.protocol.batch import Batch, encode_batch, read_batch
from ottla.protocol.compression import Codec, compress
from ottla.protocol.records import encode_records


def make_batch(
    *values: bytes,
    time_ms: int = 1_700_000_000_000,
    times_ms: Sequence[int] | None = None,
    codec: Codec = Codec.NONE,
    key: bytes | None = None,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> Batch:
    """A batch of records with these values, of one key, and of one time or each of its own."""
    contents = values or (b"value",)
    times = list(times_ms) if times_ms is not None else [time_ms] * len(contents)
    encoded = encode_records(
        (key, value, time, headers) for value, time in zip(contents, times, strict=True)
    )
    frame = encode_batch(
        compress(codec, encoded.payload),
        codec=codec,
        record_count=encoded.record_count,
        last_offset_delta=encoded.last_offset_delta,
        base_timestamp_ms=encoded.base_timestamp_ms,
        max_timestamp_ms=encoded.max_timestamp_ms,
    )
    return read_batch(memoryview(bytes(frame)))
