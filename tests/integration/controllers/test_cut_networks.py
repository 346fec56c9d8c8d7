"""What controllers do while the network around etcd is cut and every process goes on.

A controller may be left with a leader of etcd that nobody else hears, or with none at all. It has
to stop by itself, in time for the next one to begin, and come back by itself.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from integration.broker.requests import publish
from integration.walk.processes import Client, values_of

from kit.cuttable_etcd import CuttableEtcd
from kit.tcp_links import Cut
from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotController,
    OttlaError,
    OutcomeUnknown,
)

from .platform import (
    ControllerCalls,
    Platform,
    client_of,
    error_of_call,
    eventually,
    running_platform,
)
from .writer import Ledger, check, writing

pytestmark = [
    pytest.mark.slow,
    pytest.mark.may_block(reason="the test starts processes"),
]

LEASE_SECONDS = 2.0
PAUSE_SECONDS = 0.02
CALL_SECONDS = 10.0


class Published:
    """Records that were acknowledged one after the other, each of them at the first try."""

    def __init__(self) -> None:
        self.values: list[bytes] = []
        self.is_enough = False

    async def run(self, client: Client) -> None:
        while not self.is_enough:
            value = b"%06d" % len(self.values)
            await client.produce.Publish(publish("records", value), timeout=CALL_SECONDS)
            self.values.append(value)
            await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def publishing(client: Client, ledger: Ledger) -> AsyncIterator[Published]:
    """A client that publishes all the time; whatever it is refused fails the test."""
    ledger.asked.append("records")
    await client.create_topic("records")
    published = Published()
    async with asyncio.TaskGroup() as group:
        group.create_task(published.run(client), name="publisher")
        try:
            yield published
        finally:
            published.is_enough = True  # not cancelled: what is on its way would be unknown
    assert await values_of(client, "records") == published.values


async def active_ids(calls: ControllerCalls) -> list[int]:
    return [each.node_id for each in (await calls.described()).controllers if each.active]


async def refused(calls: ControllerCalls) -> OttlaError:
    """Why a controller does not create a topic that nobody shall ever find."""
    return await error_of_call(calls.create("late"))


async def agreed(platform: Platform) -> int:
    """Who leads, once all three controllers know of each other and say the same."""
    everyone = [platform.calls(node_id) for node_id in (1, 2, 3)]

    async def look() -> int | None:
        told = [(await calls.described()).controllers for calls in everyone]
        known = {tuple(sorted((each.node_id, each.active) for each in one)) for one in told}
        (one, *others) = known
        active = [node_id for node_id, is_active in one if is_active]
        return active[0] if not others and len(one) == 3 and len(active) == 1 else None

    return await eventually(look, what="agreement on who leads")


@pytest.mark.parametrize("how", Cut, ids=lambda how: how.name.lower())
async def test_a_controller_that_hears_only_a_cut_off_leader_of_etcd_stops_before_the_next_begins(
    tmp_path: Path, cuttable: CuttableEtcd, how: Cut
) -> None:
    etcd_leader = await asyncio.to_thread(cuttable.leader)
    others = [each.address for each in cuttable.members if each is not etcd_leader]
    connects = {1: etcd_leader.address, 2: ",".join(others), 3: ",".join(others)}
    async with (
        running_platform(tmp_path, cuttable, connects=connects, first=1) as platform,
        client_of(platform) as client,
    ):
        assert await active_ids(platform.calls(2)) == [1]
        old = platform.calls(1)
        async with writing(client) as ledger, publishing(client, ledger) as published:
            await asyncio.to_thread(cuttable.cut_off, etcd_leader, how)
            before = len(published.values)
            error = await refused(old)
            assert isinstance(error, MetadataStoreUnavailable | NotController | OutcomeUnknown)
            await platform.active(but=1)
            assert 1 not in await active_ids(old)
            assert isinstance(await refused(old), MetadataStoreUnavailable | NotController)
            assert len(published.values) > before
            await ledger.grows_by(3)
            await asyncio.to_thread(cuttable.heal)
            # The member that comes back may make etcd elect a leader, and leases may be lost by it.
            await agreed(platform)
            await ledger.grows_by(3)
        await check(client, ledger)
        assert "broker.session_lost" not in platform.broker.log_text()


async def test_a_controller_that_is_cut_off_from_etcd_stops_with_its_lease_and_stands_by_later(
    tmp_path: Path, cuttable: CuttableEtcd
) -> None:
    connects = {each: cuttable.connect_of(f"controller-{each}") for each in (1, 2, 3)}
    async with (
        running_platform(tmp_path, cuttable, connects=connects) as platform,
        client_of(platform) as client,
    ):
        leader, old = await platform.active()
        async with writing(client) as ledger, publishing(client, ledger) as published:
            await asyncio.to_thread(cuttable.cut_client_off, f"controller-{leader}", Cut.SILENT)
            before = len(published.values)
            await stops(old, leader)
            error = await refused(old)
            assert isinstance(error, MetadataStoreUnavailable | NotController)
            following, _ = await platform.active(but=leader)
            assert leader not in await active_ids(old)
            assert len(published.values) > before
            await ledger.grows_by(3)
            await asyncio.to_thread(cuttable.heal)
            assert await agreed(platform) == following
            assert isinstance(await refused(old), NotController)
            await ledger.grows_by(3)
        await check(client, ledger)
        assert "broker.session_lost" not in platform.broker.log_text()


async def stops(calls: ControllerCalls, node_id: int) -> None:
    """Returns once a controller takes itself for the active one no more."""

    async def look() -> object:
        active = await active_ids(calls)
        return [active] if node_id not in active else None

    # The lease bounds it; the rest is for a machine with more to do.
    await eventually(look, what="end of the term", seconds=2 * LEASE_SECONDS)
