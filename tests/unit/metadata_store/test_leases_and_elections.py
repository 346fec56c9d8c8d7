"""Conformance of a metadata store: leases end in time, and one candidate at a time leads."""

from __future__ import annotations

import asyncio

import pytest

from kit.clock import ManualClock, settle
from ottla_controller.store.election import ELECTION_PREFIX, Leadership, campaign
from ottla_controller.store.interface import LeaseLostError, MetadataStore, PutKey

from .conftest import StoreCase

TTL_MS = 600_000


async def keys(store: MetadataStore, prefix: bytes = b"") -> list[bytes]:
    return [item.key for item in (await store.read(prefix)).items]


async def test_a_lease_that_is_not_kept_takes_its_keys_along(
    store: MetadataStore, clock: ManualClock
) -> None:
    lease_id = await store.grant_lease(TTL_MS)
    await store.transact([], [PutKey(b"a", b"", lease_id), PutKey(b"b", b"")])
    clock.tick(TTL_MS - 1)
    assert await keys(store) == [b"a", b"b"]
    clock.tick(1)
    assert await keys(store) == [b"b"]
    with pytest.raises(LeaseLostError):
        await store.keep_lease_alive(lease_id)


async def test_a_lease_that_is_kept_lasts(store: MetadataStore, clock: ManualClock) -> None:
    lease_id = await store.grant_lease(TTL_MS)
    await store.transact([], [PutKey(b"a", b"", lease_id)])
    for _ in range(5):
        # Not to the last moment: what is left is the time that etcd really has to answer.
        clock.tick(TTL_MS * 9 // 10)
        await store.keep_lease_alive(lease_id)
    assert await keys(store) == [b"a"]


async def test_leases_end_each_at_its_own_time(store: MetadataStore, clock: ManualClock) -> None:
    short, long = await store.grant_lease(TTL_MS), await store.grant_lease(3 * TTL_MS)
    await store.transact([], [PutKey(b"short", b"", short), PutKey(b"long", b"", long)])
    clock.tick(TTL_MS)
    assert await keys(store) == [b"long"]
    clock.tick(2 * TTL_MS)
    assert await keys(store) == []


async def test_a_revoked_lease_takes_its_keys_along_at_once(store: MetadataStore) -> None:
    lease_id = await store.grant_lease(TTL_MS)
    await store.transact([], [PutKey(b"a", b"", lease_id)])
    await store.revoke_lease(lease_id)
    await store.revoke_lease(lease_id)
    assert await keys(store) == []


async def test_a_key_put_without_its_lease_outlives_it(
    store: MetadataStore, clock: ManualClock
) -> None:
    lease_id = await store.grant_lease(TTL_MS)
    await store.transact([], [PutKey(b"a", b"1", lease_id)])
    await store.transact([], [PutKey(b"a", b"2")])
    clock.tick(TTL_MS)
    assert await keys(store) == [b"a"]


async def test_a_put_on_a_lease_that_ended_is_refused(
    store: MetadataStore, clock: ManualClock
) -> None:
    lease_id = await store.grant_lease(TTL_MS)
    clock.tick(TTL_MS)
    with pytest.raises(LeaseLostError):
        await store.transact([], [PutKey(b"a", b"", lease_id), PutKey(b"b", b"")])
    assert await keys(store) == []


async def test_a_watch_hears_of_a_lease_that_ended(case: StoreCase) -> None:
    lease_id = await case.store.grant_lease(TTL_MS)
    made = await case.store.transact([], [PutKey(b"a", b"", lease_id)])
    async with case.store.watch(b"a", from_revision=made.revision + 1) as revisions:
        case.clock.tick(TTL_MS)
        await case.store.read(b"")
        event = (await anext(revisions)).events[0]
    assert (event.key, event.value) == (b"a", None)


async def elected(store: MetadataStore, name: bytes) -> tuple[int, Leadership]:
    lease_id = await store.grant_lease(TTL_MS)
    return lease_id, await campaign(store, lease_id=lease_id, candidate=name)


async def test_a_lone_candidate_leads_at_once_under_its_create_revision(
    store: MetadataStore,
) -> None:
    _, leadership = await elected(store, b"one")
    (item,) = (await store.read(ELECTION_PREFIX)).items
    assert (item.key, item.create_revision) == (leadership.key, leadership.epoch)
    assert (await store.transact([leadership.compare()], [PutKey(b"a", b"")])).succeeded


async def test_candidates_lead_one_after_the_other_with_growing_epochs(
    store: MetadataStore,
) -> None:
    first_lease, first = await elected(store, b"one")
    async with asyncio.TaskGroup() as group:
        second = group.create_task(elected(store, b"two"), name="second")
        while len(await keys(store, ELECTION_PREFIX)) < 2:
            await settle()
        third = group.create_task(elected(store, b"three"), name="third")
        while len(await keys(store, ELECTION_PREFIX)) < 3:
            await settle()
        assert not second.done()
        await store.revoke_lease(first_lease)
        second_lease, second_term = await second
        assert second_term.epoch > first.epoch
        assert not third.done()
        await store.revoke_lease(second_lease)
        _, third_term = await third
    assert third_term.epoch > second_term.epoch


async def test_a_candidate_behind_one_that_gave_up_still_waits_for_the_leader(
    store: MetadataStore,
) -> None:
    first_lease, _ = await elected(store, b"one")
    second_lease = await store.grant_lease(TTL_MS)
    async with asyncio.TaskGroup() as group:
        second = group.create_task(
            campaign(store, lease_id=second_lease, candidate=b"two"), name="second"
        )
        while len(await keys(store, ELECTION_PREFIX)) < 2:
            await settle()
        third = group.create_task(elected(store, b"three"), name="third")
        while len(await keys(store, ELECTION_PREFIX)) < 3:
            await settle()
        second.cancel()
        await store.revoke_lease(second_lease)
        await settle()
        assert not third.done()
        await store.revoke_lease(first_lease)
        await third
    assert len(await keys(store, ELECTION_PREFIX)) == 1


async def test_a_leader_whose_lease_ended_writes_nothing_more(
    store: MetadataStore, clock: ManualClock
) -> None:
    _, old = await elected(store, b"one")
    clock.tick(TTL_MS)
    _, new = await elected(store, b"two")
    assert new.epoch > old.epoch
    assert not (await store.transact([old.compare()], [PutKey(b"a", b"old")])).succeeded
    assert (await store.transact([new.compare()], [PutKey(b"a", b"new")])).succeeded


async def test_standing_twice_on_one_lease_keeps_the_epoch(store: MetadataStore) -> None:
    lease_id, first = await elected(store, b"one")
    assert await campaign(store, lease_id=lease_id, candidate=b"one") == first


async def test_standing_on_a_lease_that_ended_is_refused(
    store: MetadataStore, clock: ManualClock
) -> None:
    lease_id = await store.grant_lease(TTL_MS)
    clock.tick(TTL_MS)
    with pytest.raises(LeaseLostError):
        await campaign(store, lease_id=lease_id, candidate=b"one")
