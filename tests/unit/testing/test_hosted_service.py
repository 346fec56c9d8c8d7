"""A service inside another's process: ready, drained, killed, and how its failures come out."""

from __future__ import annotations

import asyncio
import signal
from typing import ClassVar

import pytest

from kit.clock import ManualClock
from ottla_runtime.config import ServiceConfig
from ottla_runtime.failures import StartError, TaskFailedError
from ottla_runtime.hosted import HostedService, ReadyPorts
from ottla_runtime.hosted_logs import logs_to_host
from ottla_runtime.process import Main, ServiceProcess


class SampleConfig(ServiceConfig):
    service: ClassVar[str] = "sample"


CONFIG = SampleConfig(node_id=1)


def hosted(main: Main[SampleConfig]) -> HostedService[SampleConfig]:
    return HostedService(CONFIG, main, clock=ManualClock())


class Story:
    """A main coroutine that tells what it does."""

    def __init__(self) -> None:
        self.told: list[str] = []

    async def main(self, process: ServiceProcess, config: SampleConfig) -> None:
        process.supervisor.start("beside", self._beside())
        self.told.append("began")
        process.report_ready(port=7, health_port=8)
        try:
            await process.drain_requested()
        except asyncio.CancelledError:
            self.told.append("cancelled")
            raise
        self.told.append("drained")

    async def _beside(self) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            self.told.append("beside ended")


async def test_a_drain_lets_it_end_in_order_and_its_tasks_with_it() -> None:
    story = Story()
    service = hosted(story.main)
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run(), name="service")
        assert await service.ready == ReadyPorts(7, 8)
        service.request_drain()
    assert story.told == ["began", "drained", "beside ended"]


async def test_a_kill_cancels_everything_where_it_is() -> None:
    story = Story()
    service = hosted(story.main)
    async with asyncio.TaskGroup() as group:
        group.create_task(service.run(), name="service")
        await service.ready
        service.kill()
    assert story.told[0] == "began"
    assert sorted(story.told[1:]) == ["beside ended", "cancelled"]


async def test_what_it_cannot_start_with_comes_out_and_it_never_was_ready() -> None:
    async def main(process: ServiceProcess, config: SampleConfig) -> None:
        raise StartError("the disk is gone")

    service = hosted(main)
    with pytest.raises(StartError, match="the disk is gone"):
        await service.run()
    assert service.ready.cancelled()


async def test_a_task_that_dies_takes_it_down_with_its_name() -> None:
    async def broken() -> None:
        raise KeyError("gone")

    async def main(process: ServiceProcess, config: SampleConfig) -> None:
        process.supervisor.start("watcher", broken())
        await process.drain_requested()

    with logs_to_host(), pytest.raises(TaskFailedError, match="watcher"):
        await hosted(main).run()


async def test_signals_and_pipes_stay_the_hosts() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    during: list[object] = []

    async def main(process: ServiceProcess, config: SampleConfig) -> None:
        during.extend(
            signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        )

    await hosted(main).run()
    assert during == before
