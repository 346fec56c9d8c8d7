"""Following the controller's metadata: how the stream ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from ottla.protocol.errors import MetadataStoreUnavailable, OttlaError, StaleControllerEpoch
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_follower import ClusterFollower
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.cluster_watch import ClusterWatch
from ottla_broker.metadata.views import ClusterVersion


class FailingStream:
    """A call that says nothing until it is cancelled, and then fails with an error of its own."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()

    def __call__(self, request: object) -> FailingStream:
        return self

    def __aiter__(self) -> AsyncIterator[object]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[object]:
        self.opened.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as cancelled:
            raise StaleControllerEpoch("the controller went at the same moment") from cancelled
        yield object()

    def cancel(self) -> None:
        """Nothing is left to cancel."""


class LinkToStream:
    """A link, and its channel, whose every stream is the one given."""

    address = ("127.0.0.1", 9093)

    def __init__(self, stream: FailingStream) -> None:
        self._stream = stream

    def channel(self) -> LinkToStream:
        return self

    def failed(self, address: tuple[str, int], error: OttlaError) -> None:
        """There is nowhere else to turn to."""

    def unary_stream(self, *names: object, **options: object) -> Callable[[object], FailingStream]:
        return self._stream

    def unary_unary(self, *names: object, **options: object) -> Callable[[object], FailingStream]:
        return self._stream


async def test_a_stream_that_fails_while_the_watch_is_cancelled_does_not_keep_it_going() -> None:
    table = ClusterTable()
    stream = FailingStream()
    watch = ClusterWatch(
        NodeId(1),
        table=table,
        follower=ClusterFollower(table),
        link=LinkToStream(stream),  # type: ignore[arg-type]  # a link of the test's own
        on_changes=lambda changes: None,
        clock=ManualClock(),
        entropy=SeededEntropy(1),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watch.run(), name="metadata-watch")
        await stream.opened.wait()
        running.cancel()
        done, _ = await asyncio.wait([running], timeout=5)
        running.cancel()
    assert done == {running}
    assert running.cancelled()


class SilentStream(FailingStream):
    """A call that says nothing until it is cancelled."""

    async def _messages(self) -> AsyncIterator[object]:
        self.opened.set()
        await asyncio.Event().wait()
        yield object()


class TurningLink(LinkToStream):
    """A link that notes why it should turn."""

    def __init__(self, stream: FailingStream) -> None:
        super().__init__(stream)
        self.turned = asyncio.Event()
        self.errors: list[OttlaError] = []

    def failed(self, address: tuple[str, int], error: OttlaError) -> None:
        self.errors.append(error)
        self.turned.set()


async def test_who_falls_behind_the_active_controller_is_left_for_another() -> None:
    table, clock = ClusterTable(), ManualClock()
    stream = SilentStream()
    link = TurningLink(stream)
    watch = ClusterWatch(
        NodeId(1),
        table=table,
        follower=ClusterFollower(table),
        link=link,  # type: ignore[arg-type]  # a link of the test's own
        on_changes=lambda changes: None,
        clock=clock,
        entropy=SeededEntropy(1),
    )
    async with asyncio.TaskGroup() as group:
        running = group.create_task(watch.run(), name="metadata-watch")
        await stream.opened.wait()
        watch.latest_version(ClusterVersion(1, 9))
        await clock.advance(1_000)
        assert link.errors == []
        await clock.advance(1_000)
        assert [type(error) for error in link.errors] == [MetadataStoreUnavailable]
        running.cancel()
