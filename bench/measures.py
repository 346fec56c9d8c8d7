"""What a benchmark says: rows with floors, as a table and as JSON, and meanwhile what it does."""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Measure:
    """One row. `value` must not be worse than `floor`, where there is one."""

    name: str
    value: float
    unit: str
    floor: float | None
    detail: str
    more_is_better: bool = False

    @property
    def holds(self) -> bool:
        """Whether the floor is kept."""
        if self.floor is None:
            return True
        return self.value >= self.floor if self.more_is_better else self.value <= self.floor

    def cells(self) -> tuple[str, ...]:
        """The row as text."""
        side = "at least" if self.more_is_better else "at most"
        bound = "-" if self.floor is None else f"{side} {_number(self.floor)}"
        verdict = "-" if self.floor is None else ("ok" if self.holds else "MISSED")
        return (self.name, _number(self.value), self.unit, bound, verdict, self.detail)


_HEADINGS = ("measure", "value", "unit", "floor", "", "in detail")


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 1_000 else f"{value:.2f}"


def table(measures: Sequence[Measure]) -> str:
    """Rows under headings, columns aligned."""
    rows = [_HEADINGS, *(measure.cells() for measure in measures)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return "\n".join(lines)


def write_json(measures: Sequence[Measure], path: Path) -> None:
    """Keep the rows for programs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [{**dataclasses.asdict(measure), "holds": measure.holds} for measure in measures]
    path.write_text(json.dumps(rows, indent=2) + "\n")


def progress(text: str) -> None:
    """Say what is being done, beside the rows."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()
