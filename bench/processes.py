"""The processes of a benchmark: started, measured from outside, and ended whatever happens.

Owns reading of CPU time and memory from /proc, and the life of a child. What a child does is its
own module's business; it says on its first line of output that it is ready, and with what.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_END_SECONDS = 10.0
_SAMPLE_SECONDS = 0.05
ROOT = Path(__file__).parent.parent
_SOURCE_ROOTS = ("clients/python", "services/runtime", "services/broker")


def cpu_seconds(pid: int) -> float:
    """CPU time that the process, all its threads, has used so far: user and system."""
    text = Path(f"/proc/{pid}/stat").read_text()
    fields = text.rpartition(")")[2].split()
    user, system = int(fields[11]), int(fields[12])
    return (user + system) / _TICKS_PER_SECOND


def resident_bytes(pid: int) -> int:
    """Resident memory of the process, files that it maps included."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise LookupError(f"/proc/{pid}/status has no VmRSS")


@contextlib.contextmanager
def peak_growth_bytes(pid: int) -> Iterator[Callable[[], int]]:
    """Watch a process; the callable tells, also afterwards, the most its memory has grown."""
    before = peak = resident_bytes(pid)
    over = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not over.wait(_SAMPLE_SECONDS):
            peak = max(peak, resident_bytes(pid))

    sampler = threading.Thread(target=sample, name="memory sampler")
    sampler.start()
    try:
        yield lambda: peak - before
    finally:
        over.set()
        sampler.join()


def _environment() -> dict[str, str]:
    paths = [str(ROOT), *(str(ROOT / root) for root in _SOURCE_ROOTS)]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


@contextlib.contextmanager
def running(module: str, arguments: Sequence[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run `python -m module`; gives its pid and the JSON of its first line, and ends it after."""
    child = subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env=_environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert child.stdout is not None
        ready = child.stdout.readline()
        if not ready:
            raise RuntimeError(f"{module} ended with {child.wait()} before it was ready")
        yield child.pid, json.loads(ready)
    finally:
        # A child ends when its input does: also when this process is killed.
        if child.stdin is not None:
            child.stdin.close()
        try:
            child.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        if child.stdout is not None:
            child.stdout.close()


def result_of(
    command: Sequence[str], *, timeout_seconds: float, **variables: str
) -> dict[str, Any]:
    """Run a client to its end and parse the JSON it prints last."""
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**_environment(), **variables},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=timeout_seconds,
    )
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result
