"""The settings of a producer, checked: bounds, units, and how they relate.

Owns names, defaults, bounds and their description, which `Producer` takes as keywords.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypedDict

from ottla.api.produce.v1 import produce_pb2
from ottla.client.calls import Patience
from ottla.client.core.accumulator import AccumulatorTerms
from ottla.client.produce_messages import acks_named
from ottla.client.setting_bounds import check_bounds
from ottla.protocol.compression import Codec, codec_named, compress

REQUEST_SIZE_MAX = 3_584 << 10
BATCH_SIZE_LEAST = 1 << 10


class ProducerOptions(TypedDict, total=False):
    """Keywords of a producer; times in ms, sizes in bytes."""

    acks: str | int
    """What an acknowledgement promises: "all" in-sync replicas, the "leader", or "none"."""
    linger_ms: int
    """Longest wait for more records while others of the partition are on their way; 5."""
    batch_bytes: int
    """A batch of this size waits no longer; 64 KiB."""
    batch_bytes_max: int
    """What a batch, and so a record, may grow to; 1 MiB, the default of `max.message.bytes`."""
    buffer_bytes: int
    """What all records not yet acknowledged may take; then `send` waits; 64 MiB."""
    max_block_ms: int
    """How long `send` waits for room before it raises BufferFull; 60,000."""
    delivery_timeout_ms: int
    """From `send` to acknowledgement, all retries included; 120,000."""
    request_timeout_ms: int
    """How long a leader waits for its replicas before it says that it doesn't know; 30,000."""
    in_flight_max: int
    """Batches of one partition on their way at once; 8."""
    retries: int | None
    """Attempts after the first; None, the default: as many as the time allows."""
    compression: str
    """Codec of batches: "none" (default), "gzip", "snappy", "lz4" or "zstd"."""
    compression_level: int | None
    """The codec's own level; None: its default."""
    default_api_timeout_ms: int
    """How long a topic that isn't known yet is looked up, all retries included; 30,000."""
    idle_ms: int
    """A connection without records is closed after so long; 300,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProducerSettings:
    """All of a producer's options, with their defaults, checked."""

    acks: str | int = "all"
    linger_ms: int = 5
    batch_bytes: int = 64 << 10
    batch_bytes_max: int = 1 << 20
    buffer_bytes: int = 64 << 20
    max_block_ms: int = 60_000
    delivery_timeout_ms: int = 120_000
    request_timeout_ms: int = 30_000
    in_flight_max: int = 8
    retries: int | None = None
    compression: str = "none"
    compression_level: int | None = None
    default_api_timeout_ms: int = 30_000
    idle_ms: int = 300_000

    def __post_init__(self) -> None:
        """Raises InvalidConfig for a value out of bounds."""
        check_bounds("linger_ms", self.linger_ms, 0, 60_000)
        check_bounds("batch_bytes_max", self.batch_bytes_max, BATCH_SIZE_LEAST, REQUEST_SIZE_MAX)
        check_bounds("batch_bytes", self.batch_bytes, 0, REQUEST_SIZE_MAX)
        check_bounds("buffer_bytes", self.buffer_bytes, self.batch_bytes_max, 1 << 40)
        check_bounds("max_block_ms", self.max_block_ms, 0, 2**31)
        check_bounds("request_timeout_ms", self.request_timeout_ms, 1, 600_000)
        check_bounds("delivery_timeout_ms", self.delivery_timeout_ms, 1, 2**31)
        check_bounds("in_flight_max", self.in_flight_max, 1, 1_000)
        check_bounds("default_api_timeout_ms", self.default_api_timeout_ms, 1, 2**31)
        check_bounds("idle_ms", self.idle_ms, 1_000, 2**31)
        if self.retries is not None:
            check_bounds("retries", self.retries, 0, 2**31)
        compress(self.codec, b"", level=self.compression_level)
        _ = self.wire_acks

    @property
    def patience(self) -> Patience:
        """How long brokers are asked."""
        return Patience(call_ms=self.default_api_timeout_ms)

    @property
    def codec(self) -> Codec:
        """How batches are compressed. Raises InvalidConfig."""
        return codec_named(self.compression)

    @property
    def wire_acks(self) -> produce_pb2.Acks.ValueType:
        """What requests ask for. Raises InvalidConfig."""
        return acks_named(self.acks)

    @property
    def ripe_batch_bytes(self) -> int:
        """The size at which a batch waits no longer: never above what it may grow to."""
        return min(self.batch_bytes, self.batch_bytes_max)

    def accumulator_terms(self) -> AccumulatorTerms:
        """The part that batching keeps to."""
        return AccumulatorTerms(
            linger_ms=self.linger_ms,
            batch_size=self.ripe_batch_bytes,
            batch_size_max=self.batch_bytes_max,
            buffer_size_max=self.buffer_bytes,
            in_flight_max=self.in_flight_max,
            delivery_timeout_ms=self.delivery_timeout_ms,
            retries_max=self.retries,
        )
