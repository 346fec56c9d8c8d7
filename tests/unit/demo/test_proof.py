"""The demo's proof fails when a flight is missing, doubled, changed or out of order."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from demo.__main__ import proven
from demo.dataset import CarrierTally, DatasetError, Flight, flights, tally
from demo.reporting import CarrierResult, Reporter, WorkResult, parse_result
from unit.demo.archives import archive_of

LINES = [b"2013,UA,1", b"2013,UA,2", b"2013,AA,3"]


def tallies(lines: list[bytes]) -> dict[str, CarrierTally]:
    found: dict[str, CarrierTally] = {}
    for line in lines:
        found.setdefault(line.split(b",")[1].decode(), CarrierTally()).add(line)
    return found


def received(lines: list[bytes]) -> WorkResult:
    carriers = {
        name: CarrierResult(each.count, each.digest.hexdigest(), partition=0)
        for name, each in tallies(lines).items()
    }
    return WorkResult(len(lines), size_bytes=1, seconds=1.0, carriers=carriers)


def test_the_same_flights_in_the_same_order_are_proof() -> None:
    assert proven(tallies(LINES), received(LINES))


def test_order_matters_within_a_carrier_only() -> None:
    assert proven(tallies(LINES), received([LINES[2], LINES[0], LINES[1]]))
    assert not proven(tallies(LINES), received([LINES[1], LINES[0], LINES[2]]))


@pytest.mark.parametrize(
    "lines",
    [LINES[1:], LINES[:2], [*LINES, LINES[2]], [*LINES[:2], b"2013,AA,4"], [*LINES, b"2013,B6,5"]],
    ids=["one missing", "a carrier missing", "one twice", "one changed", "one too many"],
)
def test_flights_that_differ_are_no_proof(lines: list[bytes]) -> None:
    assert not proven(tallies(LINES), received(lines))


def test_flights_are_read_from_the_archive_line_by_line(tmp_path: Path) -> None:
    archive = archive_of(b"2013,UA,1\n2013,AA,3\n", tmp_path / "flights.tar.gz")
    assert list(flights(archive)) == [Flight(b"UA", LINES[0]), Flight(b"AA", LINES[2])]


def test_a_source_with_too_few_flights_is_refused(tmp_path: Path) -> None:
    archive = archive_of(b"2013,UA,1\n", tmp_path / "flights.tar.gz")
    with pytest.raises(DatasetError, match="1 flights instead of 336,776"):
        tally(archive, on_progress=lambda count: None)


def test_a_workers_report_comes_back_as_it_was_made() -> None:
    out = io.StringIO()
    reporter = Reporter(out)
    reporter.advance(flight_count=2, size_bytes=20)
    reporter.finish({"UA": CarrierResult(count=2, digest="ab", partition=4)})
    first, last = (json.loads(line) for line in out.getvalue().splitlines())
    assert first == {"progress": 2}
    result = parse_result(last)
    assert (result.flight_count, result.size_bytes) == (2, 20)
    assert result.carriers == {"UA": CarrierResult(count=2, digest="ab", partition=4)}
