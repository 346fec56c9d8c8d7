"""The `ottla` command as users run it: real processes, and what they leave behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

WAIT_SECONDS = 50
_EXPORT = "export OTTLA_BOOTSTRAP="
_OTTLA = [sys.executable, "-c", "from ottla_cli.main import main; main()"]


def _environ(**changes: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
    # Not what the user who runs the tests has set up.
    return {**kept, "LANG": "C", "TERM": "dumb", "XDG_CONFIG_HOME": "/nonexistent", **changes}


@dataclass(frozen=True, slots=True)
class Done:
    """What a command printed and how it ended."""

    code: int
    out: bytes
    err: str

    @property
    def lines(self) -> list[str]:
        return self.out.decode().splitlines()

    @property
    def document(self) -> Any:
        return json.loads(self.out)

    @property
    def documents(self) -> list[Any]:
        return [json.loads(line) for line in self.lines]


def run_ottla(
    *arguments: str,
    stdin: bytes = b"",
    code: int | None = 0,
    user: Mapping[str, str] | None = None,
    **environ: str,
) -> Done:
    """Run a command to its end; `code` is the exit code it has to have.

    `user` and `environ` are changes of the environment.
    """
    done = subprocess.run(
        [*_OTTLA, *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
        env=_environ(**(user or {}), **environ),
    )
    err = done.stderr.decode()
    assert code is None or done.returncode == code, err
    assert "Traceback" not in err, err
    return Done(done.returncode, done.stdout, err)


def start_ottla(
    *arguments: str,
    stdin: int = subprocess.PIPE,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    **environ: str,
) -> subprocess.Popen[bytes]:
    """Start a command with pipes to its streams, unless others are given."""
    return subprocess.Popen(
        [*_OTTLA, *arguments],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        env=_environ(**environ),
    )


class Up:
    """A running `ottla up`."""

    def __init__(self, data: Path, *flags: str, port: int = 0) -> None:
        self.data = data
        self.process = start_ottla("up", "--data", str(data), "--port", str(port), *flags)
        self.bootstrap = ""
        self.services: list[psutil.Process] = []

    def wait_ready(self) -> str:
        """The line it prints once it is ready; empty if it ended instead."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline().decode()
        if line.startswith(_EXPORT):
            self.bootstrap = line.removeprefix(_EXPORT).strip()
            self.services = psutil.Process(self.process.pid).children()
        return line

    def service(self, module: str) -> psutil.Process:
        (found,) = (each for each in self.services if module in each.cmdline())
        return found

    def ottla(
        self, *arguments: str, stdin: bytes = b"", code: int | None = 0, **environ: str
    ) -> Done:
        user = {"OTTLA_BOOTSTRAP": self.bootstrap, **environ}
        return run_ottla(*arguments, stdin=stdin, code=code, user=user)

    def start_ottla(self, *arguments: str, stdin: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        return start_ottla(*arguments, stdin=stdin, OTTLA_BOOTSTRAP=self.bootstrap)

    def end(self, number: signal.Signals | None = signal.SIGTERM) -> Done:
        """Send a signal, if any, and wait for the end of it and of its services."""
        if number is not None and self.process.poll() is None:
            self.process.send_signal(number)
        out, err = self.process.communicate(timeout=WAIT_SECONDS)
        _, alive = psutil.wait_procs(self.services, timeout=WAIT_SECONDS)
        assert not alive, "services outlive `ottla up`"
        return Done(self.process.returncode, out, err.decode())

    def close(self) -> None:
        """Make sure that nothing of it is left."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
        for service in self.services:
            if service.is_running():
                service.kill()
        psutil.wait_procs(self.services, timeout=WAIT_SECONDS)
