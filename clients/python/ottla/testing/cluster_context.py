"""`ottla.testing.cluster()`: from keywords to a running cluster and back to nothing.

Owns entering and leaving, blocking or not, whatever a block ends with.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType

from ottla.protocol.errors import OttlaError
from ottla.testing.cluster_plan import ClusterPlan
from ottla.testing.cluster_thread import ClusterThread
from ottla.testing.running_cluster import AsyncCluster, Cluster


def cluster(
    *,
    topics: Mapping[str, int] | None = None,
    data_dir: str | os.PathLike[str] | None = None,
    broker_settings: Mapping[str, object] | None = None,
    controller_settings: Mapping[str, object] | None = None,
) -> ClusterContext:
    """A real cluster in this process: a controller and a broker on free ports of 127.0.0.1.

    Example:
        with ottla.testing.cluster(topics={"flights": 3}) as cluster:
            app = MyApp(bootstrap=cluster.bootstrap)

        async with ottla.testing.cluster() as cluster:
            await cluster.create_topic("flights", partition_count=3)

    The services have a thread and an event loop of their own. Everything they wrote is gone when
    the block ends, unless `data_dir` says where it stays; a later cluster goes on from there.

    Args:
        topics: created before the block begins, with their number of partitions.
        data_dir: where data stays; without, somewhere temporary.
        broker_settings: by name, as `{"auto.create.topics.enable": True}`.
        controller_settings: by name, as `{"session.timeout.ms": 500}`.
    """
    plan = ClusterPlan(
        data_dir=None if data_dir is None else Path(data_dir),
        topics=dict(topics or {}),
        broker_settings=dict(broker_settings or {}),
        controller_settings=dict(controller_settings or {}),
    )
    return ClusterContext(ClusterThread(plan))


class ClusterContext:
    """A cluster that runs from the beginning of its one block to the end, `with` or `async with`.

    Entering raises ImportError without `ottla[server]`, InvalidConfig for a setting that can't be,
    and ClusterError if a service doesn't start; leaving, ClusterError if one had ended by itself.
    """

    def __init__(self, thread: ClusterThread) -> None:
        self._thread = thread

    def __enter__(self) -> Cluster:
        started = self._thread.start()
        try:
            started.result()
        except BaseException:
            self._thread.close(in_order=False).exception()
            self._thread.join()
            raise
        return Cluster(self._thread)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything; after an exception without draining, and without another in its place."""
        ended = self._thread.close(in_order=error is None)
        failure = ended.exception()
        self._thread.join()
        _tell(failure, error)

    async def __aenter__(self) -> AsyncCluster:
        started = self._thread.start()
        try:
            await asyncio.wrap_future(started)
        except BaseException:
            await self._end(in_order=False)
            raise
        return AsyncCluster(self._thread)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End everything; after an exception without draining, and without another in its place."""
        _tell(await self._end(in_order=error is None), error)

    async def _end(self, *, in_order: bool) -> BaseException | None:
        """Returns when nothing is left, also if cancelled meanwhile: it is bounded and short."""
        ended = self._thread.close(in_order=in_order)
        cancelled: asyncio.CancelledError | None = None
        while not ended.done():
            try:
                await _settled(ended)
            except asyncio.CancelledError as error:
                cancelled = error
        await asyncio.to_thread(self._thread.join)
        if cancelled is not None:
            raise cancelled
        return ended.exception()


async def _settled(ended: Future[None]) -> None:
    """Wait for a future of another thread, whatever it holds."""
    loop = asyncio.get_running_loop()
    settled = asyncio.Event()

    def wake(_: Future[None]) -> None:
        loop.call_soon_threadsafe(settled.set)

    ended.add_done_callback(wake)
    await settled.wait()


def _tell(failure: BaseException | None, error: BaseException | None) -> None:
    """What the services failed with: raised, or noted on what the block failed with."""
    if failure is None:
        return
    if error is None:
        raise failure
    message = failure.message if isinstance(failure, OttlaError) else repr(failure)
    error.add_note(f"the cluster failed too: {message}")
