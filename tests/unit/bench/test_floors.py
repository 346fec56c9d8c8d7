"""A floor that is missed is seen: in the row, in the JSON and in the exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

import bench.__main__ as program
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
