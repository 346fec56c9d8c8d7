"""What `ottla perf` prints: rates, percentiles and a small histogram.

Owns the layout. MB are 10^6 bytes of values and keys; latencies are milliseconds.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ottla_cli.perf.latencies import Latencies
from ottla_cli.terminal import Output, print_json, print_table

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)
_BARS_MAX: Final = 10
_BAR_WIDTH: Final = 40
_US_PER_MS: Final = 1_000


@dataclass(slots=True)
class Report:
    """One measurement.

    Attributes:
        kind: what was measured.
        topic: where.
        record_count: records that were acknowledged, or that came.
        size_bytes: their values and keys.
        seconds: from the first of them to the last.
        latency_of: what the latencies are of; for people.
        latencies: what was sampled; None: nothing of that kind is.
        settings: what was asked for, and what else has to be known to repeat it.
        extra: further distributions.
    """

    kind: str
    topic: str
    record_count: int
    size_bytes: int
    seconds: float
    latency_of: str = ""
    latencies: Latencies | None = None
    settings: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, Latencies] = field(default_factory=dict)

    def show(self, output: Output) -> None:
        """Print it on stdout."""
        if output is Output.JSON:
            print_json(self.document())
            return
        settings = ", ".join(f"{name}={value}" for name, value in self.settings.items())
        print_table(
            ["#records", "#seconds", "#records/s", "#mb/s"],
            [
                (
                    f"{self.record_count:,}",
                    f"{self.seconds:,.3f}",
                    f"{self._rate(self.record_count):,.0f}",
                    f"{self._rate(self.size_bytes) / 1e6:,.2f}",
                )
            ],
            title=f"perf {self.kind} {self.topic}  ({settings})",
        )
        if self.latencies is not None and self.latencies.count:
            self._print_latencies(self.latencies)

    def _print_latencies(self, latencies: Latencies) -> None:
        named = {self.latency_of: latencies, **self.extra}
        columns = ["ms", *(f"#p{percent:g}" for percent in PERCENTILES), "#max", "#mean"]
        rows = [
            (
                name,
                *(_ms(each.percentile_us(percent)) for percent in PERCENTILES),
                _ms(each.max_us),
                _ms(each.mean_us),
            )
            for name, each in named.items()
        ]
        sys.stdout.write("\n")
        print_table(columns, rows)
        bars = latencies.bars(_BARS_MAX)
        longest = max(bar.sample_count for bar in bars)
        sys.stdout.write("\n")
        print_table(
            ["#from ms", "#to ms", "#samples", ""],
            [
                (
                    _ms(bar.from_us),
                    _ms(bar.to_us),
                    f"{bar.sample_count:,}",
                    "█" * -(-bar.sample_count * _BAR_WIDTH // longest),
                )
                for bar in bars
            ],
        )

    def document(self) -> dict[str, object]:
        """The same for programs."""
        latencies = self.latencies
        return {
            "kind": self.kind,
            "topic": self.topic,
            "record_count": self.record_count,
            "size_bytes": self.size_bytes,
            "seconds": round(self.seconds, 6),
            "records_per_second": round(self._rate(self.record_count), 3),
            "megabytes_per_second": round(self._rate(self.size_bytes) / 1e6, 6),
            "latency_of": self.latency_of,
            "latency_ms": None if latencies is None else _summary(latencies),
            "histogram": []
            if latencies is None
            else [
                {
                    "from_ms": bar.from_us / _US_PER_MS,
                    "to_ms": bar.to_us / _US_PER_MS,
                    "sample_count": bar.sample_count,
                }
                for bar in latencies.bars(_BARS_MAX)
            ],
            **{f"{name.replace(' ', '_')}_ms": _summary(each) for name, each in self.extra.items()},
            "settings": dict(self.settings),
        }

    def _rate(self, amount: int) -> float:
        return amount / self.seconds if self.seconds > 0 else 0.0


def _summary(latencies: Latencies) -> dict[str, float | int]:
    return {
        **{
            f"p{percent:g}".replace(".", "_"): latencies.percentile_us(percent) / _US_PER_MS
            for percent in PERCENTILES
        },
        "max": latencies.max_us / _US_PER_MS,
        "min": latencies.min_us / _US_PER_MS,
        "mean": round(latencies.mean_us / _US_PER_MS, 6),
        "sample_count": latencies.count,
    }


def _ms(time_us: float) -> str:
    """Three digits that matter, more or less."""
    time_ms = time_us / _US_PER_MS
    if time_ms < 10:
        return f"{time_ms:.3f}"
    return f"{time_ms:,.1f}" if time_ms < 1_000 else f"{time_ms:,.0f}"
