"""What a record of `perf latency` carries: which run, which number, and when it was due. Pure.

8 bytes run id · 8 bytes number · 8 bytes monotonic nanoseconds · padding to the size asked for
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from ottla_cli.perf.latencies import Latencies

_FORM: Final = struct.Struct(">8sQQ")
PROBE_SIZE_LEAST: Final = _FORM.size


class Probe(NamedTuple):
    """One record of a run; nanoseconds are of the machine's monotonic clock."""

    run_id: bytes
    number: int
    due_ns: int

    def value(self, size_bytes: int) -> bytes:
        """The record's value."""
        return _FORM.pack(*self).ljust(size_bytes, b".")


def read_probe(value: bytes | None) -> Probe | None:
    """The probe in a record's value, if that may be one."""
    if value is None or len(value) < _FORM.size:
        return None
    return Probe(*_FORM.unpack_from(value))


class Arrivals:
    """Probes of one run as they arrive, each counted once."""

    def __init__(self, run_id: bytes, *, warmup_count: int, record_count: int) -> None:
        """Prepares a bit for every probe.

        Args:
            run_id: others are somebody else's.
            warmup_count: the first so many are not measured.
            record_count: all there will be.
        """
        self._run_id = run_id
        self._warmup_count = warmup_count
        self._record_count = record_count
        self._seen = bytearray((record_count + 7) // 8)
        self.latencies = Latencies()
        self.distinct_count = 0
        self.duplicate_count = 0

    @property
    def is_complete(self) -> bool:
        """Whether every probe has arrived."""
        return self.distinct_count == self._record_count

    def take(self, value: bytes | None, now_ns: int) -> None:
        """A record arrived in user code."""
        probe = read_probe(value)
        if probe is None or probe.run_id != self._run_id or probe.number >= self._record_count:
            return
        byte, bit = probe.number >> 3, 1 << (probe.number & 7)
        if self._seen[byte] & bit:
            self.duplicate_count += 1
            return
        self._seen[byte] |= bit
        self.distinct_count += 1
        if probe.number >= self._warmup_count:
            self.latencies.add((now_ns - probe.due_ns) // 1_000)
