"""What `ottla perf` prints."""

from __future__ import annotations

import json

import pytest

from ottla_cli.perf.latencies import Latencies
from ottla_cli.perf.report import Report
from ottla_cli.terminal import Output


def _report(latencies: Latencies | None) -> Report:
    return Report(
        kind="produce",
        topic="flights",
        record_count=2_000_000,
        size_bytes=200_000_000,
        seconds=4.0,
        latency_of="call to acknowledgement",
        latencies=latencies,
        settings={"size": 100},
    )


def _hundred() -> Latencies:
    latencies = Latencies()
    for time_ms in range(1, 101):
        latencies.add(time_ms * 1_000)
    return latencies


def test_document_has_rates_percentiles_and_histogram(capsys: pytest.CaptureFixture[str]) -> None:
    _report(_hundred()).show(Output.JSON)
    document = json.loads(capsys.readouterr().out)
    assert (document["records_per_second"], document["megabytes_per_second"]) == (500_000, 50)
    latency = document["latency_ms"]
    assert latency["p50"] == pytest.approx(50, rel=0.01)
    assert latency["p90"] == pytest.approx(90, rel=0.01)
    assert latency["p99"] == pytest.approx(99, rel=0.01)
    assert [latency[name] for name in ("p99_9", "max", "min", "mean")] == [100, 100, 1, 50.5]
    assert sum(each["sample_count"] for each in document["histogram"]) == 100
    assert document["settings"] == {"size": 100}


def test_table_has_the_same_and_bars_as_long_as_they_are_many(
    capsys: pytest.CaptureFixture[str],
) -> None:
    _report(_hundred()).show(Output.TABLE)
    out = capsys.readouterr().out
    assert out.startswith("perf produce flights  (size=100)\n")
    assert "2,000,000     4.000     500,000   50.00" in out
    for name in ("P50", "P90", "P99", "P99.9", "MAX", "MEAN"):
        assert name in out
    lengths = [line.count("█") for line in out.splitlines() if "█" in line]
    assert max(lengths) == 40
    assert lengths == sorted(lengths)


def test_nothing_sampled_prints_rates_alone(capsys: pytest.CaptureFixture[str]) -> None:
    for latencies in (None, Latencies()):
        _report(latencies).show(Output.TABLE)
        assert "P50" not in capsys.readouterr().out
    assert _report(None).document()["latency_ms"] is None
