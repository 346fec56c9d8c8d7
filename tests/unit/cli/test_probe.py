"""Records of a latency run are known again, counted once, and measured from when they were due."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_cli.perf.probe import PROBE_SIZE_LEAST, Arrivals, Probe, read_probe

RUN = b"8 bytes!"


def _arrivals(warmup_count: int = 0, record_count: int = 10) -> Arrivals:
    return Arrivals(RUN, warmup_count=warmup_count, record_count=record_count)


def _value(number: int, due_ns: int = 0, run_id: bytes = RUN) -> bytes:
    return Probe(run_id, number, due_ns).value(100)


@given(st.binary(min_size=8, max_size=8), st.integers(0, 2**63), st.integers(0, 2**63))
def test_probe_comes_back_from_a_value_of_any_size(run_id: bytes, number: int, due: int) -> None:
    probe = Probe(run_id, number, due)
    for size in (PROBE_SIZE_LEAST, 100, 10_000):
        value = probe.value(size)
        assert len(value) == size
        assert read_probe(value) == probe


def test_time_runs_from_when_the_record_was_due() -> None:
    arrivals = _arrivals()
    arrivals.take(_value(0, due_ns=1_000_000), 3_500_000)
    assert (arrivals.latencies.count, arrivals.latencies.max_us) == (1, 2_500)


def test_warm_up_is_counted_as_arrived_and_not_measured() -> None:
    arrivals = _arrivals(warmup_count=2, record_count=3)
    for number in range(3):
        arrivals.take(_value(number), 1_000)
    assert arrivals.is_complete
    assert arrivals.latencies.count == 1


def test_duplicate_is_counted_apart_and_completes_nothing() -> None:
    arrivals = _arrivals(record_count=2)
    arrivals.take(_value(1), 1_000)
    arrivals.take(_value(1), 9_000)
    assert (arrivals.distinct_count, arrivals.duplicate_count) == (1, 1)
    assert not arrivals.is_complete
    assert arrivals.latencies.max_us == 1


@pytest.mark.parametrize(
    "value", [None, b"", b"short", _value(0, run_id=b"another!"), _value(10)], ids=range(5)
)
def test_what_is_not_of_the_run_is_not_counted(value: bytes | None) -> None:
    arrivals = _arrivals()
    arrivals.take(value, 1_000)
    assert (arrivals.distinct_count, arrivals.duplicate_count) == (0, 0)
    assert arrivals.latencies.count == 0
