"""All services of a test cluster, from the first's start to the last's end, on one event loop.

Owns their order: the controller starts first and ends last. Importing this module needs
`ottla[server]`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from ottla.client.admin import Admin
from ottla.client.admin_items import TopicResult
from ottla.protocol.errors import OttlaError
from ottla.testing.cluster_error import ClusterError
from ottla.testing.cluster_plan import ClusterPlan
from ottla.testing.reserved_port import HOST, ReservedPort
from ottla.testing.services import Service, make_broker, make_controller
from ottla_broker.config import BrokerConfig
from ottla_controller.config import ControllerConfig
from ottla_runtime.hosted_logs import logs_to_host


class RunningServices:
    """The services and what is done with them. One task at a time uses it."""

    def __init__(
        self,
        data_dir: Path,
        controller: Service[ControllerConfig],
        broker: Service[BrokerConfig],
    ) -> None:
        self.data_dir = data_dir
        self.controller = controller
        self.broker = broker

    @property
    def bootstrap(self) -> str:
        """The broker's address."""
        return f"{HOST}:{self.broker.port}"

    async def create_topic(
        self, name: str, partition_count: int, configs: Mapping[str, str]
    ) -> TopicResult:
        """Create a topic that the broker leads when this returns. Raises OttlaError."""
        async with Admin(self.bootstrap) as admin:
            return await admin.create_topic(name, partition_count=partition_count, configs=configs)

    async def start(self, topics: Mapping[str, int]) -> None:
        """Start all and create the topics that aren't there. Raises OttlaError."""
        await self.controller.start()
        await self.broker.start()
        if not topics:
            return
        async with Admin(self.bootstrap) as admin:
            known = {each.name for each in await admin.list_topics()}
            for name in sorted(topics.keys() - known):
                await admin.create_topic(name, partition_count=topics[name])

    async def end(self, *, in_order: bool) -> None:
        """Stop all, or kill them; raises the first ClusterError after everything has ended."""
        failures = []
        for service in (self.broker, self.controller):
            try:
                service.check()
                await (service.stop() if in_order else service.kill())
            except ClusterError as failed:
                failures.append(failed)
        if failures:
            raise failures[0]


async def run_services(
    plan: ClusterPlan,
    data_dir: Path,
    *,
    serve: Callable[[RunningServices], Awaitable[bool]],
) -> None:
    """Run a plan's services for as long as `serve` goes on, which says whether to end in order.

    Raises:
        InvalidConfig: a setting is unknown or out of bounds.
        OttlaError: a service doesn't start, has ended by itself, or a topic can't be created.
    """
    failure: OttlaError | None = None
    with contextlib.ExitStack() as stack:
        stack.enter_context(logs_to_host())
        first, last = (stack.enter_context(contextlib.closing(ReservedPort())) for _ in range(2))
        async with asyncio.TaskGroup() as group:
            try:
                controller = make_controller(
                    data_dir, plan.controller_settings, reserved=first, group=group
                )
                broker = make_broker(
                    data_dir,
                    plan.broker_settings,
                    reserved=last,
                    controller=controller,
                    group=group,
                )
                await _live(RunningServices(data_dir, controller, broker), plan.topics, serve)
            except OttlaError as failed:  # raised outside of the group, which would wrap it
                failure = failed
    if failure is not None:
        raise failure


async def _live(
    services: RunningServices,
    topics: Mapping[str, int],
    serve: Callable[[RunningServices], Awaitable[bool]],
) -> None:
    in_order = False
    try:
        await services.start(topics)
        in_order = await serve(services)
    except OttlaError:
        await services.end(in_order=False)
        raise
    await services.end(in_order=in_order)
