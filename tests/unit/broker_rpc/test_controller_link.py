"""Which controller is called, and which next."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, cast

import grpc
import pytest

from ottla.api.cluster.v1 import cluster_pb2
from ottla.protocol.errors import (
    LeaderNotAvailable,
    MetadataStoreUnavailable,
    NotController,
    OttlaError,
)
from ottla.storage.metadata.v1 import metadata_record_pb2 as records
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.views import ClusterVersion
from ottla_runtime.rpc_errors import TransportFailed

from .cluster_messages import Change

FAILED = LeaderNotAvailable("no answer")


class FakeChannel:
    """What the link does with a channel: keep it, hand it out, close it."""

    def __init__(self) -> None:
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class Linked:
    """A link to controllers named a and b; the metadata may name more."""

    def __init__(self) -> None:
        self.table = ClusterTable()
        self.opened: list[tuple[str, int]] = []
        endpoints = [cluster_pb2.Endpoint(host=host, port=1) for host in ("a", "b")]
        self.link = ControllerLink(endpoints, table=self.table, open_channel=self._open)

    def _open(self, endpoint: cluster_pb2.Endpoint) -> Any:
        self.opened.append((endpoint.host, endpoint.port))
        return FakeChannel()

    def know(self, host: str, *, node_id: int = 9, epoch: int = 0, generation: int = 1) -> None:
        endpoint = cluster_pb2.Endpoint(host=host, port=1)
        record = records.ControllerRecord(
            node_id=node_id, endpoints=[endpoint], controller_epoch=epoch
        )
        self.table.apply([Change(controller=record)])
        self.table.version = ClusterVersion(generation, self.table.version.revision + 1)


@pytest.fixture
async def linked() -> AsyncIterator[Linked]:
    test = Linked()
    yield test
    await test.link.close()


async def test_one_channel_is_kept_for_each_controller(linked: Linked) -> None:
    channel = cast("FakeChannel", linked.link.channel())
    assert cast("FakeChannel", linked.link.channel()) is channel
    assert linked.opened == [("a", 1)]
    await linked.link.close()
    assert channel.is_closed


async def test_a_failure_turns_to_the_next_one_known_and_around(linked: Linked) -> None:
    linked.know("c")
    seen = []
    for _ in range(4):
        seen.append(linked.link.address[0])
        linked.link.failed(linked.link.address, FAILED)
    assert seen == ["a", "b", "c", "a"]


async def test_a_controller_that_is_not_active_names_the_one_that_is(linked: Linked) -> None:
    active = NotController("not me", metadata={"owner_host": "z", "owner_port": 7})
    linked.link.failed(linked.link.address, active)
    assert linked.link.address == ("z", 7)
    linked.link.channel()
    assert linked.opened == [("z", 7)]


@pytest.mark.parametrize("owner", [{}, {"owner_host": "z"}, {"owner_host": "z", "owner_port": "x"}])
async def test_a_name_that_is_none_turns_to_the_next(linked: Linked, owner: dict[str, str]) -> None:
    linked.link.failed(linked.link.address, NotController("not me", metadata=owner))
    assert linked.link.address == ("b", 1)


async def test_a_failure_of_an_address_left_already_changes_nothing(linked: Linked) -> None:
    linked.link.failed(("a", 1), FAILED)
    linked.link.failed(("a", 1), FAILED)
    assert linked.link.address == ("b", 1)


async def test_metadata_of_a_new_term_turns_to_its_controller_once(linked: Linked) -> None:
    assert not linked.link.turn_to_active(), "nobody leads"
    linked.know("c", node_id=3, epoch=7)
    assert linked.link.turn_to_active()
    assert linked.link.address == ("c", 1)
    linked.link.failed(("c", 1), FAILED)
    assert not linked.link.turn_to_active(), "it was tried"
    assert linked.link.address == ("a", 1)
    linked.know("b", node_id=2, epoch=9)
    assert linked.link.turn_to_active()
    assert linked.link.address == ("b", 1)


async def test_a_term_of_a_new_generation_counts_as_later_whatever_its_epoch(
    linked: Linked,
) -> None:
    linked.know("c", node_id=3, epoch=700)
    assert linked.link.turn_to_active()
    linked.know("b", node_id=3, epoch=5, generation=2)
    assert linked.link.turn_to_active()
    assert linked.link.address == ("b", 1)


@pytest.mark.parametrize(("first", "host"), [(0, "a"), (1, "b"), (2, "a"), (5, "b")])
async def test_links_begin_at_different_controllers(first: int, host: str) -> None:
    endpoints = [cluster_pb2.Endpoint(host=host, port=1) for host in ("a", "b")]
    link = ControllerLink(endpoints, table=ClusterTable(), open_channel=never_opened, first=first)
    assert link.address == (host, 1)


def never_opened(endpoint: cluster_pb2.Endpoint) -> Any:
    raise AssertionError("nobody calls")


class StatedChannel(FakeChannel):
    """A channel whose connection is in the states given, one after the other."""

    def __init__(self, *states: grpc.ChannelConnectivity) -> None:
        super().__init__()
        self._states = list(states)

    def get_state(self, *, try_to_connect: bool) -> grpc.ChannelConnectivity:
        assert try_to_connect
        return self._states[0]

    async def wait_for_state_change(self, last: grpc.ChannelConnectivity) -> None:
        assert self._states.pop(0) is last


async def test_nothing_is_sent_on_a_connection_that_is_not_there() -> None:
    states = grpc.ChannelConnectivity
    channels = [
        StatedChannel(states.IDLE, states.CONNECTING, states.TRANSIENT_FAILURE),
        StatedChannel(states.CONNECTING, states.READY),
    ]
    endpoints = [cluster_pb2.Endpoint(host=host, port=1) for host in ("a", "b")]
    opened = iter(channels)
    link = ControllerLink(
        endpoints, table=ClusterTable(), open_channel=lambda _: cast("Any", next(opened))
    )
    with pytest.raises(MetadataStoreUnavailable):
        await link.connected(timeout_seconds=5)
    assert link.address == ("b", 1), "it turned elsewhere"
    assert cast("object", await link.connected(timeout_seconds=5)) is channels[1]


class TurningChannel(StatedChannel):
    """A channel that gets its connection while the link turns elsewhere."""

    def __init__(self, linked: Linked) -> None:
        super().__init__(grpc.ChannelConnectivity.CONNECTING, grpc.ChannelConnectivity.READY)
        self._linked = linked

    async def wait_for_state_change(self, last: grpc.ChannelConnectivity) -> None:
        await super().wait_for_state_change(last)
        self._linked.know("b", node_id=2, epoch=7)
        assert self._linked.link.turn_to_active()


async def test_a_link_that_turns_while_it_connects_connects_to_where_it_points() -> None:
    linked = Linked()
    channels = [TurningChannel(linked), StatedChannel(grpc.ChannelConnectivity.READY)]
    opened = iter(channels)
    endpoints = [cluster_pb2.Endpoint(host=host, port=1) for host in ("a", "b")]
    linked.link = ControllerLink(
        endpoints, table=linked.table, open_channel=lambda _: cast("Any", next(opened))
    )
    assert cast("object", await linked.link.connected(timeout_seconds=5)) is channels[1]


async def test_a_call_that_hangs_is_given_up_when_another_controller_leads(linked: Linked) -> None:
    async with asyncio.TaskGroup() as group:
        hanging = group.create_task(failure(linked.link.while_it_leads(forever())), name="call")
        await asyncio.sleep(0)
        linked.know("c", node_id=3, epoch=7)
        assert linked.link.turn_to_active()
    assert isinstance(hanging.result(), TransportFailed)
    assert await linked.link.while_it_leads(answer()) == 42


async def test_a_call_that_hangs_is_given_up_though_a_heartbeat_turned_the_link_before(
    linked: Linked,
) -> None:
    async with asyncio.TaskGroup() as group:
        hanging = group.create_task(failure(linked.link.while_it_leads(forever())), name="call")
        await asyncio.sleep(0)
        active = NotController("not me", metadata={"owner_host": "c", "owner_port": 1})
        linked.link.failed(linked.link.address, active)
        linked.know("c", node_id=3, epoch=7)
        assert not linked.link.turn_to_active(), "it is there already"
        async with asyncio.timeout(1):
            await asyncio.wait([hanging])
    assert isinstance(hanging.result(), TransportFailed)


async def test_a_call_to_the_controller_that_begins_to_lead_goes_on(linked: Linked) -> None:
    release = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        calling = group.create_task(linked.link.while_it_leads(released(release)), name="call")
        await asyncio.sleep(0)
        linked.know("a", node_id=1, epoch=7)
        assert not linked.link.turn_to_active()
        release.set()
    assert calling.result() == 42


async def released(event: asyncio.Event) -> int:
    await event.wait()
    return 42


async def forever() -> int:
    await asyncio.Event().wait()
    return 0


async def answer() -> int:
    return 42


async def failure(call: Awaitable[object]) -> OttlaError:
    with pytest.raises(OttlaError) as caught:
        await call
    return caught.value
