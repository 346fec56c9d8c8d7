"""A controller without its sockets: all of `control` on a store in memory and a manual clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

from kit.clock import ManualClock, settle
from ottla.api.cluster.v1.cluster_pb2 import SECURITY_PLAINTEXT, Endpoint
from ottla.internal.controller.v1.controller_pb2 import HeartbeatRequest, RegisterBrokerRequest
from ottla_controller.control.controller import Controller, ControlTimes
from ottla_controller.control.feed import MetadataFeed
from ottla_controller.control.image import ClusterImage
from ottla_controller.control.standing import ControllerIdentity
from ottla_controller.control.write_queue import Handler, Response, Written
from ottla_controller.core.heartbeats import BrokerStanding
from ottla_controller.core.state import ClusterState

from ..metadata_store.memory_store import Contents, MemoryMetadataStore
from .cluster_context import directory, incarnation

TIMES = ControlTimes(session_timeout_ms=2_000, lease_ttl_ms=2_000, history_ms=600_000)


class ControllerContext:
    """One controller's parts, and brokers that speak to it."""

    def __init__(
        self,
        *,
        clock: ManualClock,
        store: MemoryMetadataStore,
        node_id: int = 1,
        cluster_id: str = "",
        times: ControlTimes = TIMES,
        on_setback: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.clock = clock
        self.store = store
        self.image = ClusterImage(store, clock=clock)
        endpoint = Endpoint(
            listener="controller", host="127.0.0.1", port=9093, security=SECURITY_PLAINTEXT
        )
        identity = ControllerIdentity(
            node_id=node_id,
            endpoints=(endpoint,),
            cluster_id=cluster_id or "drawn",
            cluster_id_given=bool(cluster_id),
        )
        self.controller = Controller(
            store, self.image, identity, clock=clock, times=times, on_setback=on_setback
        )
        self.feed = MetadataFeed(
            self.image, clock=clock, coalesce_ms=20, heartbeat_interval_ms=15_000
        )
        self.processes = 0

    @classmethod
    @asynccontextmanager
    async def running(
        cls,
        *,
        contents: Contents | None = None,
        store: MemoryMetadataStore | None = None,
        clock: ManualClock | None = None,
        node_id: int = 1,
        cluster_id: str = "",
        active: bool = True,
        times: ControlTimes = TIMES,
    ) -> AsyncIterator[ControllerContext]:
        """A controller whose tasks run; the active one unless another leads."""
        clock = clock or ManualClock()
        store = store or MemoryMetadataStore(clock=clock, contents=contents)
        context = cls(clock=clock, store=store, node_id=node_id, cluster_id=cluster_id, times=times)
        await context.image.load()
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(work, name=name)
                for name, work in (
                    ("image", context.image.run()),
                    ("feed", context.feed.run()),
                    ("feed-heartbeats", context.feed.run_heartbeats()),
                    ("controller", context.controller.run()),
                )
            ]
            if active:
                await context.controller.became_active.wait()
            try:
                yield context
            finally:
                for task in tasks:
                    task.cancel()

    @property
    def state(self) -> ClusterState:
        return self.image.state

    async def write(self, handler: Handler[Response]) -> Written[Response]:
        return await self.controller.term().write(handler)

    def registration(self, node_id: int, *, process: int | None = None) -> RegisterBrokerRequest:
        """What a broker's process says when it begins; a new process unless one is given."""
        if process is None:
            self.processes += 1
            process = self.processes
        return RegisterBrokerRequest(
            node_id=node_id,
            incarnation_id=incarnation(process),
            endpoints=[Endpoint(listener="public", host="127.0.0.1", port=9092)],
            directory_ids=[directory(node_id)],
            feature_level_max=1,
        )

    async def register(self, node_id: int) -> int:
        return (await self.controller.term().register(self.registration(node_id))).response

    async def heartbeat(
        self,
        node_id: int,
        *,
        ready: bool = True,
        wants_shutdown: bool = False,
        offline: Sequence[bytes] = (),
    ) -> BrokerStanding:
        """A heartbeat of a broker that has applied everything."""
        request = HeartbeatRequest(
            node_id=node_id,
            broker_epoch=self.state.brokers[node_id].broker_epoch,
            applied_version=self.image.version,
            ready=ready,
            wants_shutdown=wants_shutdown,
            offline_directory_ids=offline,
        )
        return await self.controller.term().heartbeat(request)

    async def start_broker(self, node_id: int) -> None:
        """Registers a broker and has it let in."""
        await self.register(node_id)
        assert not (await self.heartbeat(node_id)).fenced

    async def advance(self, ms: int) -> None:
        """Lets time pass in steps that no part of the controller takes for a lag of its own."""
        for _ in range(ms // 50):
            await self.clock.advance(50)
        await settle()
