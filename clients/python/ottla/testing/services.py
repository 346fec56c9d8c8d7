"""The services of a test cluster on their event loop: a controller, and a broker that follows it.

Owns their settings, their lives and their ports. They are put together by their own composition
roots; nothing of them is written anew here. Importing this module needs `ottla[server]`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

from ottla.protocol.errors import InvalidConfig
from ottla.testing.cluster_error import ClusterError
from ottla.testing.reserved_port import HOST, ReservedPort
from ottla_broker.app import run_broker
from ottla_broker.config import BrokerConfig
from ottla_controller.app import run_controller
from ottla_controller.config import ControllerConfig
from ottla_runtime.clock import SystemClock
from ottla_runtime.config import ServiceConfig, load
from ottla_runtime.config_sources import ConfigError
from ottla_runtime.hosted import HostedService
from ottla_runtime.process import Main

START_SECONDS: Final = 30.0
DRAIN_SECONDS: Final = 15.0

Settings = Mapping[str, object]
_Config = TypeVar("_Config", bound=ServiceConfig)


class Service(Generic[_Config]):
    """One service of a cluster, life after life on one port. One task at a time uses it."""

    def __init__(
        self,
        main: Main[_Config],
        configured: Callable[[], _Config],
        *,
        reserved: ReservedPort,
        group: asyncio.TaskGroup,
    ) -> None:
        self.port = reserved.number
        """Where it listens, or did."""
        self.name = configured().service
        self._main = main
        self._configured = configured
        self._group = group
        self._life: HostedService[_Config] | None = None
        self._task: asyncio.Task[Exception | None] | None = None

    async def start(self) -> None:
        """Start it and return when it serves.

        Raises:
            ClusterError: it runs, can't start, or isn't ready in time.
        """
        self.check()
        if self._task is not None:
            raise ClusterError(f"the {self.name} runs already")
        life = HostedService(self._configured(), self._main, clock=SystemClock())
        task = self._group.create_task(_outcome(life), name=f"test-{self.name}")
        self._life, self._task = life, task
        begun: list[asyncio.Future[Any]] = [life.ready, task]
        await asyncio.wait(begun, timeout=START_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        if life.ready.done() and not life.ready.cancelled():
            self.port = life.ready.result().port
            return
        in_time = task.done()
        await self.kill()
        failure = task.result() if in_time else None
        why = failure or f"not ready within {START_SECONDS:.0f} s"
        raise ClusterError(f"the {self.name} did not start: {why}") from failure

    async def stop(self) -> None:
        """End it in good order, as SIGTERM does. Not running: nothing.

        Raises:
            ClusterError: it had ended by itself, or doesn't end in time; it is killed then.
        """
        self.check()
        task, life = self._task, self._life
        if task is None or life is None:
            return
        life.request_drain()
        await asyncio.wait([task], timeout=DRAIN_SECONDS)
        drained = task.done()
        await self.kill()
        if not drained:
            raise ClusterError(f"the {self.name} did not drain within {DRAIN_SECONDS:.0f} s")
        if failure := task.result():
            raise ClusterError(f"the {self.name} ended by itself: {failure}") from failure

    async def kill(self) -> None:
        """End it as a crash does. Not running: nothing."""
        task, life = self._task, self._life
        self._task = self._life = None
        if task is None or life is None:
            return
        life.kill()
        await asyncio.wait([task])

    def check(self) -> None:
        """Raises ClusterError, once, if it ended by itself."""
        task = self._task
        if task is None or not task.done():
            return
        self._task = self._life = None
        failure = task.result()
        raise ClusterError(f"the {self.name} ended by itself: {failure}") from failure


async def _outcome(life: HostedService[_Config]) -> Exception | None:
    """A service's life, and what it died of; the cluster goes on without it."""
    try:
        await life.run()
    except Exception as failure:  # noqa: BLE001 - the root of the service's task; told by `check`
        return failure
    return None


def make_controller(
    data_dir: Path, settings: Settings, *, reserved: ReservedPort, group: asyncio.TaskGroup
) -> Service[ControllerConfig]:
    """A controller with its metadata below `data_dir`, not started. Raises InvalidConfig."""
    own = {
        "data_dir": data_dir / "controller",
        "port": reserved.number,
        # A newcomer is let in with a heartbeat, and tests wait for it.
        "heartbeat_interval_ms": 50,
    }
    return Service(
        run_controller,
        lambda: _config(ControllerConfig, own, settings),
        reserved=reserved,
        group=group,
    )


def make_broker(
    data_dir: Path,
    settings: Settings,
    *,
    reserved: ReservedPort,
    controller: Service[ControllerConfig],
    group: asyncio.TaskGroup,
) -> Service[BrokerConfig]:
    """A broker with its logs below `data_dir`, not started. Raises InvalidConfig."""
    own = {"data_dir": data_dir / "broker", "port": reserved.number}

    def configured() -> BrokerConfig:
        place = {"controller": f"{HOST}:{controller.port}"}
        return _config(BrokerConfig, {**own, **place}, settings)

    return Service(run_broker, configured, reserved=reserved, group=group)


def _config(config_class: type[_Config], own: Settings, given: Settings) -> _Config:
    """A service's settings, read as its command line is; given ones win."""
    ours = {"node_id": 1, "health_port": 0, "access_log": "failed", **own}
    named = {name.replace(".", "_").replace("-", "_"): value for name, value in given.items()}
    flags = [flag for item in {**ours, **named}.items() for flag in _flags(*item)]
    try:
        return load(config_class, flags, {})
    except ConfigError as error:
        raise InvalidConfig(f"settings of the {config_class.service}: {error}") from None


def _flags(name: str, value: object) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    texts = [str(each).lower() if isinstance(each, bool) else str(each) for each in values]
    return [f"--{name.replace('_', '-')}={text}" for text in texts]
