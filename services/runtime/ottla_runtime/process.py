"""The process of a service: from its command line to its exit code.

Owns settings and logs at the start, the file limit, the bond to a parent, the event loop, signals
in two stages (drain, then cancel), the line that says it is ready, and how failures are told. What
the service does is the coroutine it passes.

Sequence: load settings → logs → parent bond → file limit → loop → `main` in a supervisor →
SIGTERM, SIGINT or the parent's death: `ServiceProcess.drain_requested` returns → `main` drains and
returns; a second SIGTERM or SIGINT, or `drain_timeout_ms`, cancels it → exit code 0, or 1 with one
line on stderr.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import structlog

from ottla_runtime import fields
from ottla_runtime.clock import Clock, SystemClock
from ottla_runtime.config import ServiceConfig, load
from ottla_runtime.config_output import as_help, as_json, as_table
from ottla_runtime.config_sources import ConfigError
from ottla_runtime.failures import StartError, TaskFailedError
from ottla_runtime.logs import configure_logs, set_log_level
from ottla_runtime.loop_lag import LoopLagWatch
from ottla_runtime.operating_system import (
    PARENT_DIED,
    bind_life_to_parent,
    keep_freed_memory,
    raise_open_files_limit,
)
from ottla_runtime.ready_pipe import ReadyPipe
from ottla_runtime.supervision import Supervisor

_Config = TypeVar("_Config", bound=ServiceConfig)
Main = Callable[["ServiceProcess", _Config], Coroutine[Any, Any, None]]
EventLoop = Literal["asyncio", "uvloop"]

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_USAGE: Final = 2

_logger = structlog.get_logger(__name__)


class ServiceProcess:
    """What a service's main coroutine gets from its process. Used by that coroutine alone."""

    def __init__(
        self,
        config: ServiceConfig,
        *,
        supervisor: Supervisor,
        clock: Clock,
        ready_pipe: ReadyPipe | None = None,
        lag_watch: LoopLagWatch | None = None,
    ) -> None:
        self.supervisor = supervisor
        """Runs the service's tasks; one that dies ends the service."""
        self.clock = clock
        self._config = config
        self._ready_pipe = ready_pipe or ReadyPipe(None)
        self._lag_watch = lag_watch
        self._drain = asyncio.Event()

    def request_drain(self) -> None:
        """Begin the orderly end, as SIGTERM does."""
        self._drain.set()

    @property
    def is_draining(self) -> bool:
        """Whether the service should end in good order."""
        return self._drain.is_set()

    async def drain_requested(self) -> None:
        """Returns once the service should end in good order."""
        await self._drain.wait()

    def report_waiting(self, why: str) -> None:
        """Say what keeps the service from being ready to who started it; the log is the caller's.

        Saying the same again is for nothing.
        """
        self._ready_pipe.waiting(why)

    def set_log_level(self, level: str) -> None:
        """Make another level the least severe that this process writes."""
        set_log_level(level)

    def set_event_loop_lag_max_ms(self, lag_max_ms: int) -> None:
        """Warn of another lag of the event loop than so far."""
        if self._lag_watch is not None:
            self._lag_watch.lag_max_ms = lag_max_ms

    def report_ready(self, *, port: int, health_port: int) -> None:
        """Say once that the service is ready to serve: in the log, and to `ready_fd` if given."""
        ready = {
            fields.NODE_ID: self._config.node_id,
            fields.PORT: port,
            "health_port": health_port,
        }
        _logger.info("service.ready", **ready)
        try:
            self._ready_pipe.ready(ready)
        except OSError as error:
            _logger.warning("service.ready_unheard", **{fields.ERROR: str(error)})
            # Whoever waited for the line is gone, perhaps before the bond to it held.
            if self._config.die_with_parent:
                self.request_drain()


def run_service(
    config_class: type[_Config],
    main: Main[_Config],
    *,
    arguments: Sequence[str] | None = None,
    environ: Mapping[str, str] | None = None,
    event_loop: EventLoop = "asyncio",
) -> int:
    """Run a service until it ends and return its exit code: `sys.exit(run_service(…))`.

    Args:
        config_class: the service's settings.
        main: the service; returns once it was told to drain and has.
        arguments: the command line without the program; None: this process's.
        environ: the environment; None: this process's.
        event_loop: what `main` runs on, as measured for the service.

    Returns:
        0 after an orderly end, 1 after a failure, 2 for settings it cannot start with.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        config = _config_or_text(config_class, given, os.environ if environ is None else environ)
    except ConfigError as error:
        _tell(config_class, str(error))
        return EXIT_USAGE
    if isinstance(config, str):
        sys.stdout.write(config)
        return EXIT_OK
    configure_logs(service=config.service, node_id=config.node_id, level=config.log_level)
    ready_pipe = ReadyPipe(config.ready_fd)
    try:
        if config.die_with_parent:
            bind_life_to_parent(config.parent_process_id)
        raise_open_files_limit(config.open_files_min)
        keep_freed_memory()
        # What is loaded stays for good. A full collection would walk it all, again and again, and
        # hold every call for 0.1 s; so it walks only what came later.
        gc.freeze()
        with asyncio.Runner(loop_factory=_loop_factory(event_loop)) as runner:
            return runner.run(_run(config, main, ready_pipe))
    except (StartError, TaskFailedError) as error:
        line = {fields.ERROR: str(error)}
        ready_pipe.failed(str(error))
        _logger.error("service.failed", **line)  # noqa: TRY400 - known; a traceback would hide it
        _tell(config_class, str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:  # before signals had their handlers
        _tell(config_class, "interrupted")
        return EXIT_FAILED
    except Exception as error:  # the root of all: the log gets what it was
        _logger.exception("service.failed", **{fields.ERROR: f"{type(error).__name__}: {error}"})
        _tell(config_class, f"failed unexpectedly: {type(error).__name__}: {error}")
        return EXIT_FAILED


def _config_or_text(
    config_class: type[_Config], arguments: Sequence[str], environ: Mapping[str, str]
) -> _Config | str:
    """The settings, or what `--help` and `--show-config[=json]` ask to print."""
    if "--help" in arguments or "-h" in arguments:
        return as_help(config_class, f"python -m ottla_{config_class.service}")
    asked = {"--show-config": "table", "--show-config=table": "table", "--show-config=json": "json"}
    forms = [asked[argument] for argument in arguments if argument in asked]
    config = load(config_class, [each for each in arguments if each not in asked], environ)
    if not forms:
        return config
    shown = config.show()
    return as_json(config.service, shown) if forms[-1] == "json" else as_table(shown)


def _tell(config_class: type[ServiceConfig], message: str) -> None:
    line = " ".join(message.split())
    with contextlib.suppress(OSError):  # its disk is full: the exit code has to do
        sys.stderr.write(f"ottla {config_class.service}: {line}\n")


def _loop_factory(event_loop: EventLoop) -> Callable[[], asyncio.AbstractEventLoop]:
    if event_loop == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # noqa: PLC0415 - not there on every platform; only who asks for it needs it

    return uvloop.new_event_loop


async def _run(config: _Config, main: Main[_Config], ready_pipe: ReadyPipe) -> int:
    clock = SystemClock()
    async with Supervisor() as supervisor:
        lag_watch = LoopLagWatch(clock=clock, lag_max_ms=config.event_loop_lag_max_ms)
        process = ServiceProcess(
            config,
            supervisor=supervisor,
            clock=clock,
            ready_pipe=ready_pipe,
            lag_watch=lag_watch,
        )
        supervisor.start("loop-lag", lag_watch.run(), may_end=False)
        main_task = supervisor.start_task(config.service, main(process, config))
        stop = _Stop(process, supervisor, main_task, config.drain_timeout_ms)
        stop.listen()
        try:
            await _ended(main_task)
        finally:
            stop.forget()
            supervisor.cancel_all()
        return EXIT_FAILED if stop.was_forced else EXIT_OK


async def _ended(main_task: asyncio.Task[None]) -> None:
    """Wait without taking the task's exception, which belongs to the supervisor."""
    await asyncio.wait([main_task])


class _Stop:
    """Turns signals into the two stages of an end. Lives in the loop's thread."""

    _SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, PARENT_DIED)

    def __init__(
        self,
        process: ServiceProcess,
        supervisor: Supervisor,
        main_task: asyncio.Task[None],
        drain_timeout_ms: int,
    ) -> None:
        self.was_forced = False
        self._process = process
        self._supervisor = supervisor
        self._main_task = main_task
        self._drain_timeout_seconds = drain_timeout_ms / 1_000
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None

    def listen(self) -> None:
        for each in self._SIGNALS:
            self._loop.add_signal_handler(each, self._received, each)

    def forget(self) -> None:
        for each in self._SIGNALS:
            self._loop.remove_signal_handler(each)
        if self._timer is not None:
            self._timer.cancel()

    def _received(self, number: signal.Signals) -> None:
        if self._timer is not None:
            if number != PARENT_DIED:
                self._force(f"second {number.name}")
            return
        _logger.info("service.drain_began", **{fields.SIGNAL: number.name})
        self._timer = self._loop.call_later(
            self._drain_timeout_seconds, self._force, "drain_timeout_ms is over"
        )
        self._process.request_drain()

    def _force(self, why: str) -> None:
        if self._main_task.done():
            return
        _logger.warning("service.drain_cancelled", **{fields.REASON: why})
        self.was_forced = True
        self._supervisor.cancel_all()
