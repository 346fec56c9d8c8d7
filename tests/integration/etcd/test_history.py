"""What the etcd store gives when there is much of it, after compactions and restored backups."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest
from integration.etcd.arrangement import (
    WAIT_SECONDS,
    done_in_thread,
    running_store,
    settings_of,
    until,
)

from kit.etcd import EtcdCluster
from ottla.protocol.errors import MetadataStoreUnavailable, OutcomeUnknown
from ottla_controller.store.etcd_settings import PREFIX_BYTES_MAX, EtcdSettings
from ottla_controller.store.etcd_store import EtcdMetadataStore
from ottla_controller.store.interface import (
    TRANSACTION_SIZE_MAX,
    CompactedError,
    Compare,
    CreateRevisionIs,
    KeyValue,
    LeaseLostError,
    PutKey,
    RevisionEvents,
    StoreRestoredError,
)

pytestmark = pytest.mark.slow


async def put(store: EtcdMetadataStore, key: bytes, value: bytes) -> int:
    return (await store.transact([], [PutKey(key, value)])).revision


async def test_the_largest_transaction_fits_under_the_longest_prefix(lone: EtcdCluster) -> None:
    prefix = "p" * (PREFIX_BYTES_MAX - 2)
    async with running_store(EtcdSettings.parsed(f"{lone.connect}/{prefix}")) as store:
        keys = [b"records/partition/%0100d" % number for number in range(128)]
        compares: list[Compare] = [CreateRevisionIs(key, 0) for key in keys]
        left = TRANSACTION_SIZE_MAX - 2 * sum(map(len, keys))
        values = [bytes(left // 128)] * 127 + [bytes(left // 128 + left % 128)]
        puts = [PutKey(key, value) for key, value in zip(keys, values, strict=True)]
        done = await store.transact(compares, puts)
        assert done.succeeded
        page = await store.read(b"records/")
    assert [(item.key, len(item.value)) for item in page.items] == [
        (put.key, len(put.value)) for put in puts
    ]


async def test_a_page_larger_than_what_is_taken_at_once_comes_in_parts(lone: EtcdCluster) -> None:
    small = replace(settings_of(lone), answer_bytes_max=1_048_576)
    async with running_store(small) as store:
        for number in range(6):
            await store.transact([], [PutKey(b"%d" % number, bytes(400_000))])
        items: list[KeyValue] = []
        after, more = b"", True
        while more:
            page = await store.read(b"", after=after, limit=1_000)
            items += page.items
            after, more = page.items[-1].key, page.more
    assert [(item.key, len(item.value)) for item in items] == [
        (b"%d" % number, 400_000) for number in range(6)
    ]


async def test_a_full_etcd_refuses_writes_and_serves_reads_until_it_has_room_again(
    cramped: EtcdCluster,
) -> None:
    async with running_store(settings_of(cramped)) as store:
        await put(store, b"a", b"1")
        with pytest.raises(OutcomeUnknown, match="full"):
            for number in range(200):  # etcd looks at its size now and then
                await put(store, b"a", bytes([number]) * 500_000)
        assert len((await store.read(b"a")).items) == 1
        await store.compact((await store.read(b"")).revision)
        await done_in_thread(cramped.ctl, "defrag")
        await done_in_thread(cramped.ctl, "alarm", "disarm")
        assert await put(store, b"b", b"1")


async def test_history_compacted_while_a_watch_was_broken_is_told(lone: EtcdCluster) -> None:
    async with running_store(settings_of(lone)) as store:
        first = await put(store, b"a", b"1")
        async with store.watch(b"a", from_revision=first) as revisions:
            assert (await anext(revisions)).revision == first
            lone.members[0].pause()
            # What the watch holds a place in is gone before it comes back.
            await done_in_thread(_overwrite_and_compact, lone)
            with pytest.raises(CompactedError) as caught:
                async with asyncio.timeout(WAIT_SECONDS):
                    await anext(revisions)
        now = await store.read(b"a")
        assert caught.value.compacted_revision == now.revision
        assert [item.value for item in now.items] == [b"3"]


def _overwrite_and_compact(cluster: EtcdCluster) -> None:
    """Restarts the member in between, so that no stream lives on with what it was sent."""
    cluster.restart(cluster.members[0])
    for value in ("2", "3"):
        cluster.put("/test/a", value)
    cluster.compact(cluster.revision())


async def test_a_watch_goes_on_where_it_was_after_the_only_member_was_restarted(
    lone: EtcdCluster,
) -> None:
    async with running_store(settings_of(lone)) as store:
        first = await put(store, b"a", b"1")
        async with store.watch(b"a", from_revision=first) as revisions:
            seen = [await anext(revisions)]
            await done_in_thread(lone.restart, lone.members[0])
            await until(lambda: _serves(store))
            seen += [
                RevisionEvents(await put(store, b"a", b"%d" % number), ()) for number in (2, 3)
            ]
            async with asyncio.timeout(WAIT_SECONDS):
                later = [await anext(revisions) for _ in range(2)]
    assert [each.revision for each in later] == [each.revision for each in seen[1:]]
    assert [each.events[0].value for each in later] == [b"2", b"3"]


async def _serves(store: EtcdMetadataStore) -> bool:
    try:
        await store.read(b"")
    except StoreRestoredError:
        raise
    except MetadataStoreUnavailable:
        return False
    return True


async def _restored(cluster: EtcdCluster, backup: Path, *, token: str | None = None) -> None:
    """Puts a backup in the place of what runs."""
    await done_in_thread(cluster.stop)
    await done_in_thread(lambda: cluster.restore(backup, token=token))
    await done_in_thread(cluster.start)


@pytest.mark.parametrize("token", ["another", None])
async def test_a_restored_backup_is_recognised_and_served_only_once_it_is_accepted(
    trio: EtcdCluster, tmp_path: Path, token: str | None
) -> None:
    backup = tmp_path / "backup"
    async with running_store(settings_of(trio)) as store:
        await put(store, b"a", b"saved")
        await done_in_thread(trio.snapshot, backup)
        name = store.store_id
        lost = [await put(store, b"a", b"lost") for _ in range(3)]
        lease_id = await store.grant_lease(60_000)
        async with store.watch(b"a", from_revision=lost[-1] + 1) as revisions:
            await _restored(trio, backup, token=token)
            with pytest.raises(StoreRestoredError):
                async with asyncio.timeout(WAIT_SECONDS):
                    await anext(revisions)
        for refused in (store.read(b""), store.keep_lease_alive(lease_id), put(store, b"b", b"")):
            with pytest.raises(StoreRestoredError):
                await refused
        store.accept_restored()
        page = await store.read(b"")
        assert [(item.key, item.value) for item in page.items] == [(b"a", b"saved")]
        assert page.revision < lost[-1]
        with pytest.raises(LeaseLostError):
            await store.keep_lease_alive(lease_id)
        assert (store.store_id != name) == (token is not None)


async def test_a_store_that_opens_after_a_restore_has_another_name(
    lone: EtcdCluster, tmp_path: Path
) -> None:
    async with running_store(settings_of(lone)) as store:
        await put(store, b"a", b"saved")
        before = store.store_id
    await done_in_thread(lone.snapshot, tmp_path / "backup")
    await _restored(lone, tmp_path / "backup", token="another")
    async with running_store(settings_of(lone)) as store:
        assert store.store_id not in {before, ""}
        assert [item.value for item in (await store.read(b"a")).items] == [b"saved"]
