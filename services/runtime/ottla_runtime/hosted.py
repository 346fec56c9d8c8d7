"""A service inside a process that isn't its own, such as a test's.

Owns what `process` owns for a process: running a service's main coroutine in a supervisor, telling
when it is ready, and its end in two stages. Leaves alone what is the host's: command line, signals,
limits, the configuration of logs, the event loop.

Sequence: the host runs `HostedService.run` in a task → `ready` has the ports → `request_drain`,
or `kill`, which ends it as a crash would → `run` returns; it raises what the service died of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

import structlog

from ottla_runtime import fields
from ottla_runtime.clock import Clock
from ottla_runtime.config import ServiceConfig
from ottla_runtime.process import Main, ServiceProcess
from ottla_runtime.supervision import Supervisor

_Config = TypeVar("_Config", bound=ServiceConfig)

_logger = structlog.get_logger(__name__)


class ReadyPorts(NamedTuple):
    """Where a service listens."""

    port: int
    health_port: int


class HostedService(Generic[_Config]):
    """One life of a service. Used by the tasks of one event loop."""

    def __init__(self, config: _Config, main: Main[_Config], *, clock: Clock) -> None:
        self.ready: asyncio.Future[ReadyPorts] = asyncio.get_running_loop().create_future()
        """The ports, once it serves; cancelled if it ends before."""
        self._config = config
        self._main = main
        self._clock = clock
        self._supervisor = Supervisor()
        self._process = _HostedProcess(
            config, supervisor=self._supervisor, clock=clock, on_ready=self._is_ready
        )

    async def run(self) -> None:
        """The service from its start to its end; once.

        Raises:
            StartError: it cannot start.
            TaskFailedError: one of its tasks died.
        """
        structlog.contextvars.bind_contextvars(
            **{fields.SERVICE: self._config.service, fields.NODE_ID: self._config.node_id}
        )
        try:
            async with self._supervisor as supervisor:
                main = supervisor.start_task(
                    self._config.service, self._main(self._process, self._config)
                )
                try:
                    await asyncio.wait([main])
                finally:
                    supervisor.cancel_all()
        finally:
            self.ready.cancel()

    def request_drain(self) -> None:
        """Begin the orderly end, as SIGTERM does."""
        self._process.request_drain()

    def kill(self) -> None:
        """Cancel everything at once: what was being done stays undone, as after a crash."""
        self._supervisor.cancel_all()

    def _is_ready(self, ports: ReadyPorts) -> None:
        if not self.ready.done():
            self.ready.set_result(ports)


class _HostedProcess(ServiceProcess):
    """What the main coroutine gets: the host is told that it is ready, and no pipe."""

    def __init__(
        self,
        config: ServiceConfig,
        *,
        supervisor: Supervisor,
        clock: Clock,
        on_ready: Callable[[ReadyPorts], None],
    ) -> None:
        super().__init__(config, supervisor=supervisor, clock=clock)
        self._on_ready = on_ready

    def set_log_level(self, level: str) -> None:
        """Leave it: what is written of the lines is the host's to say."""

    def report_ready(self, *, port: int, health_port: int) -> None:
        _logger.info("service.ready", **{fields.PORT: port, "health_port": health_port})
        self._on_ready(ReadyPorts(port, health_port))
