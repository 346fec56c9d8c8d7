"""What the demo's worker processes say to the process that shows it: one JSON object a line."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict, dataclass
from typing import IO


@dataclass(frozen=True, slots=True)
class CarrierResult:
    """What was read back of a carrier."""

    count: int
    digest: str
    partition: int


@dataclass(frozen=True, slots=True)
class WorkResult:
    """What a worker did: flights, their bytes, and the seconds it took."""

    flight_count: int
    size_bytes: int
    seconds: float
    carriers: dict[str, CarrierResult]


class Reporter:
    """Writes progress and the result of a worker to its stdout."""

    def __init__(self, out: IO[str] | None = None) -> None:
        self._out = out or sys.stdout
        self._started = time.monotonic()
        self.flight_count = 0
        self.size_bytes = 0

    def advance(self, *, flight_count: int, size_bytes: int) -> None:
        """Tell that so many more flights are through."""
        self.flight_count += flight_count
        self.size_bytes += size_bytes
        self._write({"progress": self.flight_count})

    def finish(self, carriers: dict[str, CarrierResult]) -> None:
        """Tell the result."""
        seconds = time.monotonic() - self._started
        result = WorkResult(self.flight_count, self.size_bytes, seconds, carriers)
        self._write({"result": asdict(result)})

    def _write(self, message: dict[str, object]) -> None:
        print(json.dumps(message), file=self._out, flush=True)


def parse_result(message: dict[str, object]) -> WorkResult:
    """The result as the worker told it."""
    fields = message["result"]
    assert isinstance(fields, dict)
    carriers = {name: CarrierResult(**carrier) for name, carrier in fields.pop("carriers").items()}
    return WorkResult(carriers=carriers, **fields)
