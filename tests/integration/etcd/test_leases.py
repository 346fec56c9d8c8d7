"""Leases of the etcd store by real time: etcd's, and that of the process that holds them."""

from __future__ import annotations

import asyncio

import pytest
from integration.etcd.arrangement import (
    WAIT_SECONDS,
    done_in_thread,
    running,
    running_store,
    settings_of,
    until,
)

from kit.clock import ManualClock, settle
from kit.entropy import SeededEntropy
from kit.etcd import EtcdCluster
from ottla.protocol.errors import MetadataStoreUnavailable
from ottla_controller.store.election import campaign
from ottla_controller.store.etcd_store import EtcdMetadataStore
from ottla_controller.store.interface import LeaseLostError, PutKey
from ottla_runtime.clock import SystemClock

pytestmark = pytest.mark.slow

TTL_MS = 1_000


async def test_a_lease_that_nobody_keeps_ends_in_etcd_by_itself(lone: EtcdCluster) -> None:
    # A store whose own clock stands still, as that of a process that is stopped.
    opening = EtcdMetadataStore.opened(
        settings_of(lone), clock=ManualClock(), entropy=SeededEntropy()
    )
    async with opening as stopped, running_store(settings_of(lone)) as other:
        lease_id = await stopped.grant_lease(TTL_MS)
        made = await stopped.transact([], [PutKey(b"a", b"", lease_id)])
        async with other.watch(b"a", from_revision=made.revision + 1) as revisions:
            async with asyncio.timeout(WAIT_SECONDS):
                gone = await anext(revisions)
        assert gone.events[0].value is None
        with pytest.raises(LeaseLostError):
            await stopped.keep_lease_alive(lease_id)


async def test_a_lease_is_lost_in_time_though_etcd_says_nothing(lone: EtcdCluster) -> None:
    clock = SystemClock()
    async with running_store(settings_of(lone)) as store:
        lease_id = await store.grant_lease(TTL_MS)
        sent_ms = clock.monotonic_ms()
        await store.keep_lease_alive(lease_id)
        lone.members[0].pause()
        lost_ms = 0
        while not lost_ms:
            try:
                await store.keep_lease_alive(lease_id)
            except LeaseLostError:
                lost_ms = clock.monotonic_ms()
            except MetadataStoreUnavailable:
                pass
        assert sent_ms + TTL_MS <= lost_ms < sent_ms + 5 * TTL_MS
        lone.members[0].resume()
        with pytest.raises(LeaseLostError):
            await store.keep_lease_alive(lease_id)


async def test_watchers_hear_of_a_lease_as_soon_as_its_holder_has_lost_it(
    lone: EtcdCluster,
) -> None:
    clock = ManualClock()
    opening = EtcdMetadataStore.opened(settings_of(lone), clock=clock, entropy=SeededEntropy())
    async with opening as holder, running(holder.run()), running_store(settings_of(lone)) as other:
        lease_id = await holder.grant_lease(60_000)
        made = await holder.transact([], [PutKey(b"a", b"", lease_id)])
        async with other.watch(b"a", from_revision=made.revision + 1) as revisions:
            await settle()
            clock.tick(60_000)
            async with asyncio.timeout(WAIT_SECONDS):
                assert (await anext(revisions)).events[0].value is None


async def test_what_hangs_on_a_store_goes_with_it_when_it_closes(lone: EtcdCluster) -> None:
    async with running_store(settings_of(lone)) as other:
        async with running_store(settings_of(lone)) as store:
            lease_id = await store.grant_lease(60_000)
            await store.transact([], [PutKey(b"a", b"", lease_id)])
        assert (await other.read(b"a")).items == ()


async def test_the_next_candidate_leads_once_the_leader_falls_silent(lone: EtcdCluster) -> None:
    opening = EtcdMetadataStore.opened(
        settings_of(lone), clock=ManualClock(), entropy=SeededEntropy()
    )
    async with opening as stopped, running_store(settings_of(lone)) as other:
        old_lease = await stopped.grant_lease(TTL_MS)
        old = await campaign(stopped, lease_id=old_lease, candidate=b"old")
        new_lease = await other.grant_lease(60_000)
        async with asyncio.timeout(WAIT_SECONDS):
            new = await campaign(other, lease_id=new_lease, candidate=b"new")
        assert new.epoch > old.epoch
        late = await stopped.transact([old.compare()], [PutKey(b"a", b"late")])
        assert not late.succeeded


async def test_a_lease_outlives_its_etcd_leader_while_it_is_kept(trio: EtcdCluster) -> None:
    async with running_store(settings_of(trio)) as store:
        lease_id = await store.grant_lease(10_000)
        await store.transact([], [PutKey(b"a", b"", lease_id)])
        leader = await done_in_thread(trio.leader)
        await done_in_thread(leader.kill)
        kept = 0

        async def keep() -> None:
            nonlocal kept
            while True:
                try:
                    await store.keep_lease_alive(lease_id)
                    kept += 1
                except MetadataStoreUnavailable:
                    pass
                await asyncio.sleep(0.1)

        async with running(keep()):
            await until(lambda: kept >= 3)
        assert [item.lease_id for item in (await store.read(b"a")).items] == [lease_id]
