"""Percentiles of many samples in little memory, close to the true ones and never below."""

from __future__ import annotations

import json
import math
import sys
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ottla_cli.perf.latencies import VALUE_US_MAX, Latencies

TIMES = st.lists(st.integers(0, VALUE_US_MAX), min_size=1, max_size=200)


def _of(*times_us: int) -> Latencies:
    latencies = Latencies()
    for time_us in times_us:
        latencies.add(time_us)
    return latencies


@given(TIMES, st.sampled_from([0.1, 25, 50, 90, 99, 99.9, 100]))
def test_percentile_is_the_nearest_rank_within_one_percent(
    times_us: list[int], percent: float
) -> None:
    true_us = sorted(times_us)[max(1, math.ceil(len(times_us) * percent / 100)) - 1]
    found_us = _of(*times_us).percentile_us(percent)
    assert true_us <= found_us <= true_us * 1.01


@given(TIMES)
def test_least_largest_mean_and_count_are_exact(times_us: list[int]) -> None:
    latencies = _of(*times_us)
    assert (latencies.min_us, latencies.max_us) == (min(times_us), max(times_us))
    assert latencies.mean_us == pytest.approx(sum(times_us) / len(times_us))
    assert latencies.count == len(times_us)


def test_small_times_are_exact() -> None:
    latencies = _of(*range(256))
    assert [latencies.percentile_us(100 * n / 256) for n in range(1, 257)] == list(range(256))


def test_memory_is_bounded_whatever_comes() -> None:
    latencies = Latencies()
    for exponent in range(64):
        for step in range(300):
            latencies.add((1 << exponent) + (step << max(0, exponent - 8)))
    document = latencies.to_document()
    assert isinstance(document["counts"], dict)
    assert len(document["counts"]) < 40 * 128
    assert sys.getsizeof(document["counts"]) < 400_000


def test_time_below_zero_counts_as_zero_and_one_too_long_keeps_its_maximum() -> None:
    latencies = _of(-5, VALUE_US_MAX * 3)
    assert latencies.percentile_us(50) == 0
    assert latencies.max_us == VALUE_US_MAX * 3
    assert latencies.percentile_us(100) >= VALUE_US_MAX


def test_no_samples_have_no_times() -> None:
    empty = Latencies()
    assert (empty.percentile_us(99), empty.mean_us, empty.max_us, empty.bars(10)) == (0, 0.0, 0, [])


@given(TIMES, st.integers(1, 12))
@example([1, 2], 3)
def test_bars_hold_every_sample_and_touch(times_us: list[int], count_max: int) -> None:
    latencies = _of(*times_us)
    bars = latencies.bars(count_max)
    assert sum(bar.sample_count for bar in bars) == len(times_us)
    assert 1 <= len(bars) <= count_max + 1
    assert (bars[0].from_us, bars[-1].to_us) == (min(times_us), max(times_us) + 1)
    assert all(one.to_us == other.from_us for one, other in pairwise(bars))
    assert all(bar.from_us < bar.to_us for bar in bars)


def test_bar_holds_what_lies_in_it() -> None:
    bars = _of(*[100] * 5, *[1_000] * 3, 10_000).bars(4)
    assert [bar.sample_count for bar in bars if bar.from_us <= 100 < bar.to_us] == [5]
    assert [bar.sample_count for bar in bars if bar.from_us <= 1_000 < bar.to_us] == [3]
    assert bars[-1].sample_count == 1


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 1_000))
def test_spread_counts_each_record_once_between_its_ends(
    first_us: int, last_us: int, count: int
) -> None:
    latencies = Latencies()
    latencies.add_spread(first_us, last_us, count)
    assert latencies.count == count
    ends = (first_us, last_us) if count > 1 else (first_us, first_us)
    assert (latencies.min_us, latencies.max_us) == (min(ends), max(ends))


@given(TIMES)
def test_distribution_survives_the_way_to_another_process(times_us: list[int]) -> None:
    latencies = _of(*times_us)
    again = Latencies.from_document(json.loads(json.dumps(latencies.to_document())))
    assert again.to_document() == latencies.to_document()
    assert (again.count, again.percentile_us(90)) == (latencies.count, latencies.percentile_us(90))
