"""A platform of its own for the demo: `ottla up` on temporary data, and worker processes beside it.

Everything started here ends with the demo, and is checked to be gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from demo.reporting import WorkResult, parse_result

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
EXPORT_PREFIX = "export OTTLA_BOOTSTRAP="
OTTLA = str(Path(sys.executable).parent / "ottla")


@dataclass(frozen=True, slots=True)
class Platform:
    """Where a running platform answers, and the processes of its services by their program."""

    bootstrap: str
    services: dict[str, int]


class PlatformError(Exception):
    """A process of the demo failed; the message carries what it said."""


@contextlib.contextmanager
def running_platform() -> Iterator[Platform]:
    """Run `ottla up` on temporary data and give it; stop it afterwards.

    Raises:
        PlatformError: it doesn't start, or something of it survives its stop.
    """
    with tempfile.TemporaryDirectory(prefix="ottla-demo-") as scratch:
        said, log = Path(scratch) / "stdout", Path(scratch) / "services.log"
        command = [OTTLA, "up", "--data", f"{scratch}/data", "--port", "0", "--die-with-parent"]
        command.append(f"--parent-process-id={os.getpid()}")
        with said.open("wb") as stdout, log.open("wb") as stderr:
            process = subprocess.Popen(command, stdout=stdout, stderr=stderr)
        services: dict[str, int] = {}
        try:
            bootstrap = _await_bootstrap(process, said=said, log=log)
            services = _services(process.pid)
            yield Platform(bootstrap, services)
        finally:
            _stop(process, list(services.values()))


def _await_bootstrap(process: subprocess.Popen[bytes], *, said: Path, log: Path) -> str:
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        for line in said.read_text().splitlines(keepends=True):
            if line.startswith(EXPORT_PREFIX) and line.endswith("\n"):
                return line.removeprefix(EXPORT_PREFIX).strip()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
    raise PlatformError(f"`ottla up` did not start:\n{log.read_text(errors='replace')}")


def _services(parent: int) -> dict[str, int]:
    """Process ids of the services that `ottla up` has started, by module name."""
    services: dict[str, int] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                words = (path.parent / "cmdline").read_bytes().decode().split("\0")
                services[words[words.index("-m") + 1]] = int(path.parent.name)
    return services


def _stop(process: subprocess.Popen[bytes], services: list[int]) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        raise PlatformError(f"`ottla up` did not stop within {STOP_TIMEOUT_S:.0f} s") from None
    left = [pid for pid in services if Path(f"/proc/{pid}").exists()]
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if left:
        raise PlatformError("`ottla up` left services behind; they were killed")


def run_ottla(bootstrap: str, *words: str) -> str:
    """Run an `ottla` command against the platform and return its stdout.

    Raises:
        PlatformError: it exits non-zero.
    """
    environment = {**os.environ, "OTTLA_BOOTSTRAP": bootstrap}
    done = subprocess.run(
        [OTTLA, *words], env=environment, check=False, capture_output=True, text=True
    )
    if done.returncode != 0:
        raise PlatformError(f"`ottla {' '.join(words)}` failed:\n{done.stderr.strip()}")
    return done.stdout


def run_worker(module: str, *words: str, on_progress: Callable[[int], None]) -> WorkResult:
    """Run a worker module of the demo in a process of its own.

    Raises:
        PlatformError: it exits non-zero or without a result.
    """
    command = [sys.executable, "-m", module, *words]
    # stderr goes to a file: a pipe that nobody drains meanwhile would stop a talkative worker.
    with tempfile.TemporaryFile("w+", errors="replace") as errors:
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
            assert process.stdout is not None
            try:
                result = _follow(process.stdout, on_progress)
            except BaseException:
                process.kill()
                raise
        if process.returncode != 0 or result is None:
            errors.seek(0)
            raise PlatformError(f"{module} failed:\n{errors.read().strip()}")
    return result


def _follow(lines: Iterator[str], on_progress: Callable[[int], None]) -> WorkResult | None:
    for line in lines:
        message = json.loads(line)
        if "result" in message:
            return parse_result(message)
        on_progress(message["progress"])
    return None
