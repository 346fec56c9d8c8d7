"""Which partition a key belongs to: Kafka's rule, so that both agree on where a key lives.

Owns: murmur2 in the variant of Kafka's clients and the mapping onto partitions. Does not own the
choice for records without a key (the producer sticks to one partition a batch).
"""

from __future__ import annotations

from functools import lru_cache
from struct import unpack_from

_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_UINT32 = 0xFFFFFFFF
_INT31 = 0x7FFFFFFF

# Streams repeat their keys, and hashing costs some microseconds in Python. Long keys are not
# kept, so the memory is bounded by their number.
_CACHED_KEYS_MAX = 4096
_CACHED_KEY_SIZE_MAX = 64


def murmur2(data: bytes) -> int:
    """The 32-bit murmur2 hash as an unsigned number (Austin Appleby's, with Kafka's seed)."""
    size = len(data)
    word_count = size // 4
    state = _SEED ^ size
    for word in unpack_from(f"<{word_count}I", data):
        mixed = word * _MULTIPLIER & _UINT32
        mixed = (mixed ^ mixed >> 24) * _MULTIPLIER & _UINT32
        state = (state * _MULTIPLIER & _UINT32) ^ mixed
    rest = data[word_count * 4 :]
    if rest:
        state = (state ^ int.from_bytes(rest, "little")) * _MULTIPLIER & _UINT32
    state = (state ^ state >> 13) * _MULTIPLIER & _UINT32
    return state ^ state >> 15


_cached_murmur2 = lru_cache(_CACHED_KEYS_MAX)(murmur2)


def partition_for_key(key: bytes, partition_count: int) -> int:
    """The key's partition, 0 to `partition_count` - 1; stable as long as the count is.

    Raises:
        ValueError: there is no partition to choose.
    """
    if partition_count < 1:
        raise ValueError(f"partition_count is {partition_count}, at least 1 is needed")
    hashed = _cached_murmur2(key) if len(key) <= _CACHED_KEY_SIZE_MAX else murmur2(key)
    return (hashed & _INT31) % partition_count
