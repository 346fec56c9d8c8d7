"""`ottla up`: a controller and a broker on this machine, until told to stop.

    lock data directory ─► controller ready ─► broker ready ─► print the export line ─► wait
        ─► a signal: broker drains and ends, then the controller      (a second one: kill)
        ─► a service ends by itself: stop the other, exit code 1

Owns the order. The services are processes of their own that die with this one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ottla_cli.failures import EXIT_FAILED, EXIT_INTERRUPTED, EXIT_OK, CommandFailed
from ottla_cli.local.data_directory import DataDirectory
from ottla_cli.local.parent_bond import (
    PARENT_DIED,
    bind_life_to_parent,
    raise_open_files_limit,
)
from ottla_cli.local.service_process import ServiceProcess, check_installed, started, stopped
from ottla_cli.terminal import Output, print_json, say, silence_stdout

HOST: Final = "127.0.0.1"
_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, PARENT_DIED)
# A line for every call would fill the disk of a laptop.
_COMMON: Final = ("--host", HOST, "--health-port=0", "--access-log=failed")


@dataclass(frozen=True, slots=True)
class UpOptions:
    """What the command line asks for."""

    data: Path
    port: int
    dies_with_parent: bool
    parent_process_id: int | None
    output: Output


async def up(options: UpOptions) -> int:
    """Run the platform until a signal; returns the exit code.

    Raises:
        CommandFailed: it cannot start, or a service ended by itself.
    """
    check_installed()
    if options.dies_with_parent:
        bind_life_to_parent(options.parent_process_id)
    raise_open_files_limit()
    with contextlib.closing(DataDirectory(options.data)) as data, _stop_signals() as stop:
        return await _run(options, data, stop)


async def _run(options: UpOptions, data: DataDirectory, stop: _Stop) -> int:
    controller_flags = ["--node-id=1", f"--data-dir={data.path / 'controller'}", "--port=0"]
    async with started(
        "controller", "ottla_controller", [*controller_flags, *_COMMON], data=data
    ) as controller:
        broker_flags = [
            "--node-id=1",
            f"--data-dir={data.path / 'broker-1'}",
            f"--port={options.port}",
            f"--controller={HOST}:{controller.port}",
            "--auto-create-topics-enable",
        ]
        async with started(
            "broker-1", "ottla_broker", [*broker_flags, *_COMMON], data=data
        ) as broker:
            _announce(options, data, broker=broker, controller=controller)
            return await _serve([broker, controller], stop)


async def _serve(services: Sequence[ServiceProcess], stop: _Stop) -> int:
    """Wait for a signal or the end of a service, then stop what runs, in order."""
    stop.is_serving = True
    async with asyncio.TaskGroup() as group:
        waits = {
            group.create_task(each.wait(), name=f"wait-{each.name}"): each for each in services
        }
        asked = group.create_task(stop.asked.wait(), name="wait-signal")
        done, _ = await asyncio.wait([*waits, asked], return_when=asyncio.FIRST_COMPLETED)
        asked.cancel()
        died = [(each, wait.result()) for wait, each in waits.items() if wait in done]
        if not died:
            say("Stopping …")
        in_order = [await stopped(each) for each in services]
    if died:
        service, code = died[0]
        raise service.failure(code)
    if not all(in_order):
        say("ottla: a service did not end in good order; its log says why", style="bold red")
        return EXIT_FAILED
    return EXIT_OK


def _announce(
    options: UpOptions, data: DataDirectory, *, broker: ServiceProcess, controller: ServiceProcess
) -> None:
    bootstrap = f"{HOST}:{broker.port}"
    data.note(process_id=os.getpid(), bootstrap=bootstrap)
    say(f"Ottla is up at {bootstrap}", style="bold green")
    say(f"  data  {data.path}")
    say(f"  logs  {data.log_path}")
    say("  Ctrl-C stops it. In another terminal:")
    try:
        if options.output is Output.JSON:
            print_json(
                {
                    "bootstrap": bootstrap,
                    "data": str(data.path),
                    "process_id": os.getpid(),
                    "broker": {"port": broker.port, "process_id": broker.process_id},
                    "controller": {"port": controller.port, "process_id": controller.process_id},
                }
            )
        else:
            sys.stdout.write(f"export OTTLA_BOOTSTRAP={shlex.quote(bootstrap)}\n")
        sys.stdout.flush()
    except OSError:
        silence_stdout()  # nobody reads it; the platform is up all the same


class _Stop:
    """Signals: while the platform serves, the first asks it to end; any other cancels.

    A terminal that closes and a parent that dies may be told twice; that cancels no orderly end.
    """

    def __init__(self, task: asyncio.Task[object]) -> None:
        self.asked = asyncio.Event()
        self.is_serving = False
        self.was_cancelled = False
        self._task = task

    def received(self, number: signal.Signals) -> None:
        if self.is_serving and not self.asked.is_set():
            self.asked.set()
        elif number != PARENT_DIED or not self.asked.is_set():
            self.was_cancelled = True
            self._task.cancel()


@contextlib.contextmanager
def _stop_signals() -> Iterator[_Stop]:
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "runs inside an event loop"
    stop = _Stop(task)
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.received, number)
    try:
        yield stop
    except asyncio.CancelledError:
        if not stop.was_cancelled or task.uncancel():
            raise
        raise CommandFailed("interrupted", code=EXIT_INTERRUPTED) from None
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
