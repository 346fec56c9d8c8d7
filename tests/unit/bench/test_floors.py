"""A floor that is missed is seen: in the row, in the JSON and in the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import bench.__main__ as program
from bench import client_bench, transport_bench
from bench.measures import Measure


def measure(value: float, floor: float | None, *, more_is_better: bool = False) -> Measure:
    return Measure("row", value, "s", floor, "", more_is_better=more_is_better)


@pytest.mark.parametrize(
    ("row", "holds"),
    [
        (measure(2.0, 2.0), True),
        (measure(2.1, 2.0), False),
        (measure(2.1, 2.0, more_is_better=True), True),
        (measure(1.9, 2.0, more_is_better=True), False),
        (measure(9.0, None), True),
        (measure(float("nan"), 2.0), False),
        (measure(float("nan"), 2.0, more_is_better=True), False),
    ],
)
def test_value_is_held_to_its_floor_from_the_right_side(row: Measure, holds: bool) -> None:
    assert row.holds is holds
    assert row.cells()[4] == ("-" if row.floor is None else "ok" if holds else "MISSED")


@pytest.mark.parametrize(
    ("rows", "code"),
    [
        ([measure(1.0, 2.0), measure(5.0, None)], 0),
        ([measure(1.0, 2.0), measure(3.0, 2.0)], 1),
        ([measure(3.0, 2.0), measure(1.0, 2.0)], 1),
    ],
)
def test_program_ends_with_1_when_a_floor_is_missed(
    rows: Sequence[Measure],
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    parts = [part for name, part in vars(program).items() if name.endswith("_bench")]
    assert parts
    for number, part in enumerate(parts):
        found = list(rows) if number == len(parts) - 1 else []
        monkeypatch.setattr(part, "run", lambda found=found, **_: found)
    target = tmp_path / "deep" / "results.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--json", str(target)])
    assert program.main() == code
    assert [each["holds"] for each in json.loads(target.read_text())] == [
        each.holds for each in rows
    ]
    assert capsys.readouterr().out.count("MISSED") == code


def test_a_name_that_no_row_has_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    # No part starts anything for it, or this would take minutes.
    target = tmp_path / "results.json"
    monkeypatch.setattr(sys, "argv", ["bench", "--only", "no such row", "--json", str(target)])
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == 2
    assert "no row has 'no such row' in its name" in capsys.readouterr().err
    assert not target.exists()


@pytest.mark.parametrize(
    "name",
    [
        "produce 1 KiB, flush off",
        "broker: CPU a GB, 1 KiB produced, flush off",
        "broker: CPU a GB, 1 KiB consumed",
        "latency, 500 messages/s of 100 B, due to received: p99.9, flush off",
        "consumer of 1,000 partitions that never reads: memory grown",
    ],
)
def test_each_row_of_the_client_can_be_asked_for_by_its_name(name: str) -> None:
    assert len(client_bench.tasks(only=name)) == 1


def test_only_the_contestants_work_that_is_asked_for_is_done() -> None:
    assert [work.name for work in transport_bench.works(only="from a file")] == [
        "stream out, 1 MiB from a file"
    ]
    assert transport_bench.works(only="consume") == []
