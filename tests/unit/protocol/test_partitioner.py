"""Keys go where Kafka's clients would put them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.protocol.partitioner import murmur2, partition_for_key


@pytest.mark.parametrize(
    ("data", "signed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_has_the_values_of_kafkas_tests(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed & 0xFFFFFFFF
    assert partition_for_key(data, 1000) == (signed & 0x7FFFFFFF) % 1000


@given(st.binary(max_size=100), st.integers(1, 10_000))
def test_partition_is_one_of_those_there_are_and_stays_the_same(key: bytes, count: int) -> None:
    partition = partition_for_key(key, count)
    assert 0 <= partition < count
    assert partition == (murmur2(key) & 0x7FFFFFFF) % count
    assert partition == partition_for_key(bytes(bytearray(key)), count)


def test_every_length_of_rest_and_the_empty_key_hash_differently() -> None:
    hashes = [murmur2(b"\xff" * size) for size in range(16)]
    assert len(set(hashes)) == 16


@pytest.mark.parametrize("count", [0, -1])
def test_no_partitions_are_an_error(count: int) -> None:
    with pytest.raises(ValueError, match="at least 1 is needed"):
        partition_for_key(b"key", count)
