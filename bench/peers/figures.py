"""What a comparison found: medians by row and contestant, and the settings behind each.

Owns the table and the file. The last comparison that was kept stands in the repository, so that
`make bench` can show the peers beside its own rows without running them.
"""

from __future__ import annotations

import dataclasses
import json
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

KEPT: Final = Path(__file__).parent / "figures.json"


@dataclass(slots=True)
class Figures:
    """Rows are names with their unit; a contestant has a value a round in each."""

    rows: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)
    """Of each contestant, in the order of the table."""
    missing: dict[str, str] = field(default_factory=dict)
    """Why a contestant was not measured."""

    def add(self, row: str, contestant: str, value: float) -> None:
        """One round's value."""
        self.rows.setdefault(row, {}).setdefault(contestant, []).append(value)

    def write(self, path: Path) -> None:
        """Keep them as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(dataclasses.asdict(self), indent=2) + "\n", encoding="utf-8")

    def table(self) -> str:
        """The medians in columns, then the settings, a line each."""
        contestants = list(self.settings)
        cells = [("", *contestants)]
        for name, values in self.rows.items():
            cells.append((name, *(_shown(values.get(each, ())) for each in contestants)))
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [" ".join(_aligned(row, widths)).rstrip() for row in cells]
        lines += [f"{name}: {text}" for name, text in self.settings.items()]
        lines += [f"{name}: not measured: {why}" for name, why in self.missing.items()]
        return "\n".join(lines) + "\n"


def kept() -> Figures | None:
    """The comparison that stands in the repository, if there is one."""
    if not KEPT.exists():
        return None
    return Figures(**json.loads(KEPT.read_text(encoding="utf-8")))


def _shown(values: Sequence[float]) -> str:
    if not values:
        return "-"
    value = statistics.median(values)
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def _aligned(row: Sequence[str], widths: Sequence[int]) -> Iterator[str]:
    yield row[0].ljust(widths[0])
    for cell, width in zip(row[1:], widths[1:], strict=True):
        yield cell.rjust(width + 1)
