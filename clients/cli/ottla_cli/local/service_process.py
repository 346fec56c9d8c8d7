"""One service as a child process: starting it, hearing that it is ready, stopping it.

Owns the command line, the pipe on which the service says it is ready, its log, and reading from
that log why it failed. Which services there are is `up`'s business.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Final

from ottla_cli.failures import CommandFailed
from ottla_cli.local.data_directory import DataDirectory
from ottla_cli.terminal import say

START_TIMEOUT_SECONDS: Final = 60.0
# A service drains for 30 s at most before it cancels what is left.
STOP_TIMEOUT_SECONDS: Final = 40.0
# When something failed, or somebody cannot wait.
_HURRIED_STOP_SECONDS: Final = 3.0
_TAIL_BYTES: Final = 64 * 1024


def check_installed() -> None:
    """See that the services can be started.

    Raises:
        CommandFailed: they, or what they need, are not installed.
    """
    needed = ("ottla_broker", "ottla_controller", "structlog", "pydantic_settings", "hpack")
    missing = [name for name in needed if importlib.util.find_spec(name) is None]
    if missing:
        raise CommandFailed(
            f"the services are not installed ({', '.join(missing)} missing)",
            hint="pip install 'ottla[cli,server]'",
        )


class ServiceProcess:
    """A running service. Used by one task, but for `wait`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: str) -> None:
        self.name = name
        self.port = 0
        self.told = ""
        """What it said last of why it isn't ready, on the pipe: a log may be on a full disk."""
        self._process = process
        self._log = log

    @property
    def process_id(self) -> int:
        """The process's id."""
        return self._process.pid

    async def wait(self) -> int:
        """The exit code, once it ended."""
        return await self._process.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; nothing happens if it ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def failure(self, code: int) -> CommandFailed:
        """What to say of a service that ended by itself."""
        why = self.told or self._last_words()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with {code}"
        return CommandFailed(why or f"the {self.name} {how}", hint=f"its log is {self._log}")

    def _last_words(self) -> str:
        """The line for people that a service leaves behind its JSON lines."""
        with open(self._log, "rb") as log:  # noqa: PTH123 - a path as text is all there is
            log.seek(max(0, os.fstat(log.fileno()).st_size - _TAIL_BYTES))
            lines = log.read().decode(errors="replace").splitlines()
        service = self.name.partition("-")[0]
        spoken = [line for line in lines[-50:] if line.startswith(f"ottla {service}: ")]
        return spoken[-1].removeprefix("ottla ") if spoken else ""


@contextlib.asynccontextmanager
async def started(
    name: str, module: str, arguments: Sequence[str], *, data: DataDirectory
) -> AsyncIterator[ServiceProcess]:
    """Run a service for the block; a service that still runs after it is stopped in a hurry.

    Args:
        name: names it to people and its log.
        module: what Python runs.
        arguments: settings, without those that tie it to this process.
        data: has its log, and the lock it inherits.

    Raises:
        CommandFailed: it ended, or took too long, before it was ready.
    """
    ready_read, ready_write = os.pipe()
    log = data.open_log(name)
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            *(f"--ready-fd={ready_write}", "--die-with-parent"),
            f"--parent-process-id={os.getpid()}",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=(ready_write, data.lock_descriptor),
            # Ctrl-C is for us alone: we stop the services in their order.
            process_group=0,
        )
    finally:
        os.close(log)
        os.close(ready_write)
    service = ServiceProcess(name, process, str(data.log_path / f"{name}.log"))
    try:
        service.port = await _ready_port(service, ready_read)
        yield service
    finally:
        if process.returncode is None:
            await stopped(service, timeout_seconds=_HURRIED_STOP_SECONDS)


async def _ready_port(service: ServiceProcess, ready_read: int) -> int:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(ready_read, "rb")
    )
    try:
        async with asyncio.timeout(START_TIMEOUT_SECONDS):
            while line := await reader.readline():
                told = json.loads(line)
                if "port" in told:
                    return int(told["port"])
                _heard(service, told)
            raise service.failure(await service.wait())
    except TimeoutError:
        why = f": {service.told}" if service.told else ""
        raise CommandFailed(
            f"the {service.name} was not ready within {START_TIMEOUT_SECONDS:.0f} s{why}"
        ) from None
    finally:
        transport.close()


def _heard(service: ServiceProcess, told: dict[str, str]) -> None:
    """Keep why a service isn't ready, and tell people at once what it waits for."""
    kind = service.name.partition("-")[0]
    if "failed" in told:
        service.told = f"{kind}: {told['failed']}"
    elif "waiting" in told:
        service.told = told["waiting"]
        say(f"The {kind} waits: {told['waiting']}", style="yellow")


async def stopped(
    service: ServiceProcess, *, timeout_seconds: float = STOP_TIMEOUT_SECONDS
) -> bool:
    """Stop a service in good order, or kill it; returns whether it was in order."""
    service.signal(signal.SIGTERM)
    try:
        async with asyncio.timeout(timeout_seconds):
            return await service.wait() == 0
    except TimeoutError:
        service.signal(signal.SIGKILL)
        await service.wait()
        return False
