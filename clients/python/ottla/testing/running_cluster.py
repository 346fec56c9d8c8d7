"""What a test holds in its hands: a running cluster and its services, with and without `await`.

Owns the two faces of one cluster. What is done happens in the cluster's own thread, one thing after
another; a face asks for it and waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from ottla.client.admin_items import TopicResult
    from ottla.testing.cluster_thread import ClusterThread
    from ottla.testing.running_services import RunningServices
    from ottla.testing.services import Service

    _Choice = Callable[[RunningServices], Service[Any]]

_Result = TypeVar("_Result")


class _Face:
    """Access to the services of a cluster that runs."""

    def __init__(self, thread: ClusterThread) -> None:
        self._thread = thread

    @property
    def _services(self) -> RunningServices:
        services = self._thread.services
        assert services is not None, "a face is given out once the services run"
        return services

    def _do(self, work: Callable[[RunningServices], Awaitable[_Result]]) -> _Result:
        return self._thread.submit(work).result()

    async def _done(self, work: Callable[[RunningServices], Awaitable[_Result]]) -> _Result:
        return await asyncio.wrap_future(self._thread.submit(work))


class _ServiceFace(_Face):
    """One of the services."""

    def __init__(self, thread: ClusterThread, choice: _Choice) -> None:
        super().__init__(thread)
        self._choice = choice

    @property
    def port(self) -> int:
        """Where it listens; the same in every life."""
        return self._choice(self._services).port


class ClusterService(_ServiceFace):
    """A service of a cluster, from any thread."""

    def start(self) -> None:
        """Start it again, on its port and data, and wait until it serves. Raises ClusterError."""
        self._do(lambda services: self._choice(services).start())

    def stop(self) -> None:
        """End it in good order, as SIGTERM does. Raises ClusterError."""
        self._do(lambda services: self._choice(services).stop())

    def kill(self) -> None:
        """End it as a crash does: calls break, nothing is drained, logs are left as they are."""
        self._do(lambda services: self._choice(services).kill())


class AsyncClusterService(_ServiceFace):
    """A service of a cluster, from any event loop."""

    async def start(self) -> None:
        """Start it again, on its port and data, and wait until it serves. Raises ClusterError."""
        await self._done(lambda services: self._choice(services).start())

    async def stop(self) -> None:
        """End it in good order, as SIGTERM does. Raises ClusterError."""
        await self._done(lambda services: self._choice(services).stop())

    async def kill(self) -> None:
        """End it as a crash does: calls break, nothing is drained, logs are left as they are."""
        await self._done(lambda services: self._choice(services).kill())


class _ClusterFace(_Face):
    """What both faces know without waiting."""

    @property
    def bootstrap(self) -> str:
        """What clients are given: the broker's address."""
        return self._services.bootstrap

    @property
    def data_dir(self) -> Path:
        """Where metadata and logs lie."""
        return self._services.data_dir


class Cluster(_ClusterFace):
    """A running cluster, from any thread. Made by `with ottla.testing.cluster()`."""

    def __init__(self, thread: ClusterThread) -> None:
        super().__init__(thread)
        self.broker = ClusterService(thread, lambda services: services.broker)
        """Serves clients; stop, kill and start it to see what they do."""
        self.controller = ClusterService(thread, lambda services: services.controller)
        """Knows topics and leaders; records flow on for a while without it."""
        self.aio = AsyncCluster(thread)
        """The same cluster for coroutines."""

    def create_topic(
        self, name: str, *, partition_count: int = 1, configs: Mapping[str, str] | None = None
    ) -> TopicResult:
        """Create a topic; clients can use it when this returns. Raises OttlaError."""
        return self._do(
            lambda services: services.create_topic(name, partition_count, configs or {})
        )


class AsyncCluster(_ClusterFace):
    """A running cluster, from any event loop. Made by `async with ottla.testing.cluster()`."""

    def __init__(self, thread: ClusterThread) -> None:
        super().__init__(thread)
        self.broker = AsyncClusterService(thread, lambda services: services.broker)
        """Serves clients; stop, kill and start it to see what they do."""
        self.controller = AsyncClusterService(thread, lambda services: services.controller)
        """Knows topics and leaders; records flow on for a while without it."""

    async def create_topic(
        self, name: str, *, partition_count: int = 1, configs: Mapping[str, str] | None = None
    ) -> TopicResult:
        """Create a topic; clients can use it when this returns. Raises OttlaError."""
        return await self._done(
            lambda services: services.create_topic(name, partition_count, configs or {})
        )
