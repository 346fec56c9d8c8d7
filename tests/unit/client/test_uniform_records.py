"""Runs of records that look alike are read as protobuf reads them, or left to it."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ottla.api.record.v1 import record_pb2
from ottla.client.core.uniform_records import UniformColumns, read_uniform
from ottla.protocol.records import RecordInput, encode_records


def payload_of(records: list[RecordInput]) -> bytes:
    return encode_records(records).payload


def parsed(payload: bytes) -> UniformColumns:
    records = record_pb2.Records.FromString(payload).records
    return UniformColumns(
        [record.timestamp_delta for record in records],
        [record.key if record.HasField("key") else None for record in records],
        [record.value for record in records],
    )


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 66, 8_191, 8_192])
@pytest.mark.parametrize("size", [0, 1, 100, 127, 128, 300])
def test_values_of_one_size_are_recognised(count: int, size: int) -> None:
    rng = random.Random(count * size)
    payload = payload_of([(None, rng.randbytes(size), 1_000, ()) for _ in range(count)])
    assert read_uniform(payload, count) == parsed(payload)


def test_keys_and_times_may_differ_within_a_run() -> None:
    rng = random.Random(5)
    records: list[RecordInput] = [
        (rng.randbytes(8), rng.randbytes(40), 1_000 + number // 3, ()) for number in range(3_000)
    ]
    payload = payload_of(records)
    found = read_uniform(payload, 3_000)
    assert found == parsed(payload)
    assert found is not None
    assert found.time_deltas[-1] == 999


def test_runs_of_several_sizes_follow_one_another() -> None:
    records: list[RecordInput] = [(None, b"x" * (5 + number // 50), 7, ()) for number in range(500)]
    payload = payload_of(records)
    assert read_uniform(payload, 500) == parsed(payload)


@pytest.mark.parametrize(
    ("odd", "fits"),
    [
        ((None, b"x" * 11, 7, ()), True),
        ((b"", b"x" * 8, 7, ()), True),
        ((None, None, 7, ()), False),
        ((None, b"", 7, [("h" * 4, b"v")]), False),
    ],
)
def test_an_odd_record_is_a_run_of_its_own_or_left_to_the_general_way(
    odd: RecordInput, fits: bool
) -> None:
    records: list[RecordInput] = [(None, b"x" * 10, 7, ())] * 300
    records[150] = odd
    payload = payload_of(records)
    assert read_uniform(payload, 300) == (parsed(payload) if fits else None)


def test_records_of_ever_other_sizes_are_given_up_early() -> None:
    records: list[RecordInput] = [(None, b"x" * (number % 7), 7, ()) for number in range(300)]
    assert read_uniform(payload_of(records), 300) is None


@pytest.mark.parametrize("said", [0, 299, 301])
def test_another_count_than_said_is_not_recognised(said: int) -> None:
    assert read_uniform(payload_of([(None, b"x", 7, ())] * 300), said) is None


def test_deltas_beyond_two_bytes_and_gaps_are_left_to_the_general_way() -> None:
    assert read_uniform(payload_of([(None, b"x", 7, ())] * 8_200), 8_200) is None
    gap = record_pb2.Records(
        records=[record_pb2.Record(offset_delta=2 * n, value=b"v") for n in range(50)]
    )
    assert read_uniform(gap.SerializeToString(), 50) is None


@given(
    sizes=st.lists(st.tuples(st.integers(0, 130), st.integers(1, 90)), min_size=1, max_size=4),
    key_size=st.none() | st.integers(0, 9),
    step_ms=st.integers(-3, 40),
    damage=st.none() | st.tuples(st.integers(0, 2**16), st.integers(1, 255)),
)
@example(sizes=[(0, 38)], key_size=None, step_ms=22, damage=(1319, 1))
def test_whatever_is_recognised_is_what_protobuf_reads(
    sizes: list[tuple[int, int]],
    key_size: int | None,
    step_ms: int,
    damage: tuple[int, int] | None,
) -> None:
    rng = random.Random(len(sizes))
    records: list[RecordInput] = []
    for size, count in sizes:
        for _ in range(count):
            key = None if key_size is None else rng.randbytes(key_size)
            records.append((key, rng.randbytes(size), 10_000 + step_ms * len(records), ()))
    payload = bytearray(payload_of(records))
    if damage is not None:
        payload[damage[0] % len(payload)] ^= damage[1]
    found = read_uniform(bytes(payload), len(records))
    if found is not None:
        assert found == parsed(bytes(payload))
        deltas = record_pb2.Records.FromString(bytes(payload)).records
        assert [record.offset_delta for record in deltas] == list(range(len(records)))
