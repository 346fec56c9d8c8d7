"""The etcd store while the network between members is cut and all of their processes go on.

A leader that is cut off still answers its clients from what it knows, and takes itself for the
leader for up to two election times. Whatever it says alone must not be believed.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest
from integration.etcd.arrangement import (
    WAIT_SECONDS,
    BeginsAtTheFirst,
    done_in_thread,
    running,
    running_store,
    until,
    writing_and_watching,
)

from kit.cuttable_etcd import CuttableEtcd
from kit.etcd import EtcdMember
from kit.tcp_links import Cut
from ottla.protocol.errors import MetadataStoreUnavailable, OutcomeUnknown
from ottla_controller.store.election import ELECTION_PREFIX, campaign
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_controller.store.interface import LeaseLostError, MetadataStore, PutKey
from ottla_runtime.clock import SystemClock

pytestmark = pytest.mark.slow

TTL_MS = 2_000
KEEP_SECONDS = 0.1


def settings_of(*members: EtcdMember) -> EtcdSettings:
    """For a store that knows these members alone, and does not wait for them for long."""
    connect = f"{','.join(member.address for member in members)}/test"
    return EtcdSettings.parsed(connect, request_timeout_ms=1_000)


def others(cluster: CuttableEtcd, member: EtcdMember) -> list[EtcdMember]:
    return [each for each in cluster.members if each is not member]


@dataclass
class Holder:
    """Somebody who keeps a lease alive, and believes in it for as long as the store says."""

    store: MetadataStore
    lease_id: int
    believed_until_ms: int

    async def keep(self) -> None:
        while True:
            sent_ms = SystemClock().monotonic_ms()
            try:
                await self.store.keep_lease_alive(self.lease_id)
            except LeaseLostError:
                return
            except MetadataStoreUnavailable:
                pass
            else:
                self.believed_until_ms = sent_ms + TTL_MS
            await asyncio.sleep(KEEP_SECONDS)


@pytest.mark.parametrize("how", Cut, ids=lambda how: how.name.lower())
async def test_a_leader_that_is_cut_off_is_left_and_nothing_is_lost(
    cuttable: CuttableEtcd, how: Cut
) -> None:
    leader = await done_in_thread(cuttable.leader)
    settings = settings_of(leader, *others(cuttable, leader))
    async with (
        running_store(settings, entropy=BeginsAtTheFirst()) as store,
        writing_and_watching(store) as (writer, watcher),
    ):
        await done_in_thread(cuttable.cut_off, leader, how)
        await writer.goes_on()
        await watcher.catches_up(writer)
        await done_in_thread(cuttable.heal)
        acknowledged = max(writer.acknowledged.values())
        async with running_store(settings_of(leader)) as healed:
            assert (await healed.read(b"")).revision >= acknowledged
        await writer.goes_on()


async def test_a_follower_that_has_lost_its_leader_alone_is_left_and_nothing_is_lost(
    cuttable: CuttableEtcd,
) -> None:
    leader = await done_in_thread(cuttable.leader)
    follower, other = others(cuttable, leader)
    settings = settings_of(follower, leader, other)
    async with (
        running_store(settings, entropy=BeginsAtTheFirst()) as store,
        writing_and_watching(store) as (writer, watcher),
    ):
        await done_in_thread(cuttable.cut_between, follower, leader, Cut.SILENT)
        await writer.goes_on()
        await watcher.catches_up(writer)
        await done_in_thread(cuttable.heal)
        await writer.goes_on()


async def test_a_lease_that_is_kept_by_a_cut_off_leader_is_lost_before_another_candidate_leads(
    cuttable: CuttableEtcd,
) -> None:
    leader = await done_in_thread(cuttable.leader)
    async with (
        running_store(settings_of(leader)) as alone,
        running_store(settings_of(*others(cuttable, leader))) as store,
    ):
        granted_ms = SystemClock().monotonic_ms()
        holder = Holder(alone, await alone.grant_lease(TTL_MS), granted_ms + TTL_MS)
        old = await campaign(alone, lease_id=holder.lease_id, candidate=b"old")
        lease_id = await store.grant_lease(60_000)
        campaigning = campaign(store, lease_id=lease_id, candidate=b"new")
        async with running(holder.keep()), running(campaigning) as standing:
            await until(lambda: stand(store, 2))
            await done_in_thread(cuttable.cut_off, leader, Cut.SILENT)
            async with asyncio.timeout(WAIT_SECONDS):
                new = await standing
            assert SystemClock().monotonic_ms() >= holder.believed_until_ms, "two of them lead"
        assert new.epoch > old.epoch
        with pytest.raises((MetadataStoreUnavailable, OutcomeUnknown)):
            await alone.transact([old.compare()], [PutKey(b"a", b"late")])
        assert (await store.transact([new.compare()], [PutKey(b"a", b"new")])).succeeded
        await done_in_thread(cuttable.heal)
        await until(lambda: answers(alone))
        assert not (await alone.transact([old.compare()], [PutKey(b"a", b"late")])).succeeded
        assert [each.value for each in (await alone.read(b"a")).items] == [b"new"]


@pytest.mark.parametrize("role", ["leader", "follower"])
async def test_a_member_that_is_cut_off_shows_nothing_and_takes_nothing_until_it_is_healed(
    cuttable: CuttableEtcd, role: str
) -> None:
    leader = await done_in_thread(cuttable.leader)
    member = leader if role == "leader" else others(cuttable, leader)[0]
    async with (
        running_store(settings_of(member)) as alone,
        running_store(settings_of(*others(cuttable, member))) as store,
    ):
        await store.transact([], [PutKey(b"a", b"old")])
        lease_id = await alone.grant_lease(TTL_MS)
        await alone.transact([], [PutKey(b"b", b"", lease_id)])
        await done_in_thread(cuttable.cut_off, member, Cut.SILENT)
        with pytest.raises(LeaseLostError):
            while True:
                with pytest.raises(MetadataStoreUnavailable):
                    await alone.keep_lease_alive(lease_id)
        with pytest.raises(MetadataStoreUnavailable, match="etcd at 127"):
            await alone.read(b"a")
        with pytest.raises((MetadataStoreUnavailable, OutcomeUnknown)):
            await alone.transact([], [PutKey(b"c", b"lost")])
        await until(lambda: answers(store))
        done = await store.transact([], [PutKey(b"a", b"new")])
        async with store.watch(b"b", from_revision=1) as revisions:
            async for revision in revisions:  # by the others, without the one who is cut off
                if revision.events[0].value is None:
                    break
        await done_in_thread(cuttable.heal)
        await until(lambda: answers(alone))
        page = await alone.read(b"")
        assert page.revision >= done.revision
        assert [(each.key, each.value) for each in page.items] == [(b"a", b"new")]


async def stand(store: MetadataStore, count: int) -> bool:
    return len((await store.read(ELECTION_PREFIX)).items) == count


async def answers(store: MetadataStore) -> bool:
    try:
        await store.read(b"")
    except MetadataStoreUnavailable:
        return False
    return True
