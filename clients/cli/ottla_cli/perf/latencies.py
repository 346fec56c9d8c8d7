"""Times measured, in buckets that grow with them: bounded memory, bounded error.

    0 … 127 one microsecond wide, 128 … 255 one, 256 … 511 two, 512 … 1023 four, …

Owns counting, percentiles and the way between processes. Each doubling has 128 buckets, so a
percentile is less than 1 % above the true one, never below. The idea is HdrHistogram's (Gil Tene);
a sorted list would need memory for every sample of a run of hours. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import accumulate, pairwise
from math import ceil
from typing import Final, NamedTuple

_BUCKET_BITS: Final = 7
_BUCKETS: Final = 1 << _BUCKET_BITS
# A day; what takes longer is counted as that, its maximum kept as it is.
VALUE_US_MAX: Final = 86_400_000_000


class Bar(NamedTuple):
    """One bar of a small histogram: samples from a time on, up to another."""

    from_us: int
    to_us: int
    sample_count: int


class Latencies:
    """A distribution of times in microseconds."""

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._sum_us = 0
        self.count = 0
        self.min_us = 0
        self.max_us = 0

    def add(self, time_us: int, count: int = 1) -> None:
        """Count samples of a time; one below zero, as of clocks that disagree, counts as zero."""
        time_us = max(0, time_us)
        index = _index(min(time_us, VALUE_US_MAX))
        self._counts[index] = self._counts.get(index, 0) + count
        self._sum_us += time_us * count
        self.min_us = time_us if self.count == 0 else min(self.min_us, time_us)
        self.max_us = max(self.max_us, time_us)
        self.count += count

    def add_spread(self, first_us: int, last_us: int, count: int) -> None:
        """Count samples that lie evenly between two times, of which sixteen at most are told."""
        points = min(count, 16)
        shares = [
            count * (point + 1) // points - count * point // points for point in range(points)
        ]
        for point, share in enumerate(shares):
            step = (last_us - first_us) * point // max(1, points - 1)
            self.add(first_us + step, share)

    @property
    def mean_us(self) -> float:
        """The mean; 0 without samples."""
        return self._sum_us / self.count if self.count else 0.0

    def percentile_us(self, percent: float) -> int:
        """The time that so many percent of samples do not exceed; 0 without samples."""
        rank = max(1, ceil(self.count * percent / 100))
        indexes = sorted(self._counts)
        for index, seen in zip(
            indexes, accumulate(self._counts[each] for each in indexes), strict=True
        ):
            if seen >= rank:
                return min(_upper(index), self.max_us)
        return 0

    def bars(self, count_max: int) -> list[Bar]:
        """A small histogram from the least time to the largest, in steps that double."""
        if not self.count:
            return []
        edges = list(_edges(self.min_us, self.max_us, count_max))
        bars = [[low, high, 0] for low, high in pairwise(edges)]
        place = 0
        for index in sorted(self._counts):
            while place < len(bars) - 1 and _upper(index) >= bars[place][1]:
                place += 1
            bars[place][2] += self._counts[index]
        return [Bar(*each) for each in bars]

    def to_document(self) -> dict[str, object]:
        """All of it, for another process."""
        return {
            "counts": {str(index): count for index, count in self._counts.items()},
            "sum_us": self._sum_us,
            "min_us": self.min_us,
            "max_us": self.max_us,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, object]) -> Latencies:
        """What `to_document` made."""
        counts = document["counts"]
        assert isinstance(counts, dict)
        made = cls()
        made._counts = {int(index): int(count) for index, count in counts.items()}
        made._sum_us = int(str(document["sum_us"]))
        made.min_us = int(str(document["min_us"]))
        made.max_us = int(str(document["max_us"]))
        made.count = sum(made._counts.values())
        return made


def _index(time_us: int) -> int:
    shift = max(0, time_us.bit_length() - _BUCKET_BITS - 1)
    return shift * _BUCKETS + (time_us >> shift)


def _upper(index: int) -> int:
    """The largest time that the bucket holds."""
    if index < 2 * _BUCKETS:
        return index
    shift = index // _BUCKETS - 1
    return ((index - shift * _BUCKETS + 1) << shift) - 1


def _edges(least_us: int, most_us: int, count_max: int) -> Iterator[int]:
    """Bounds of at most so many bars; each is wider than the one before by the same factor."""
    low = max(1, least_us)
    factor = max(2.0**0.5, ((most_us + 1) / low) ** (1 / count_max))
    edge, last = float(low), least_us
    yield last
    while edge * factor < most_us:
        edge *= factor
        if round(edge) > last:  # among the first few microseconds steps may be narrower than one
            last = round(edge)
            yield last
    yield most_us + 1
