"""Conformance of a metadata store: consistent paged reads, and transactions with compares."""

from __future__ import annotations

import asyncio

import pytest

from ottla_controller.store.interface import (
    TRANSACTION_OPERATIONS_MAX,
    TRANSACTION_SIZE_MAX,
    CompactedError,
    Compare,
    CreateRevisionIs,
    DeleteKey,
    FutureRevisionError,
    KeyValue,
    MetadataStore,
    ModRevisionIs,
    PutKey,
    prefix_end,
)

from .conftest import StoreCase


async def put(store: MetadataStore, *pairs: tuple[bytes, bytes]) -> int:
    done = await store.transact([], [PutKey(key, value) for key, value in pairs])
    assert done.succeeded
    return done.revision


async def values(
    store: MetadataStore, prefix: bytes = b"", *, revision: int | None = None
) -> dict[bytes, bytes]:
    page = await store.read(prefix, limit=10_000, revision=revision)
    assert not page.more
    return {item.key: item.value for item in page.items}


async def test_a_new_store_is_empty(store: MetadataStore) -> None:
    page = await store.read(b"")
    assert page.items == ()
    assert not page.more


async def test_a_store_keeps_its_name_and_nothing_is_lost_by_accepting_what_was_not_restored(
    case: StoreCase,
) -> None:
    await put(case.store, (b"a", b"1"))
    name = case.store.store_id
    case.store.accept_restored()
    assert await values(case.store) == {b"a": b"1"}
    assert case.store.store_id == name


async def test_what_was_put_is_read_with_its_revisions(store: MetadataStore) -> None:
    made = await put(store, (b"a", b"1"))
    written = await put(store, (b"a", b"2"))
    assert written == made + 1
    page = await store.read(b"a")
    assert page.items == (KeyValue(b"a", b"2", create_revision=made, mod_revision=written),)
    assert page.revision == written


async def test_a_transaction_of_many_keys_is_one_revision(store: MetadataStore) -> None:
    revision = await put(store, *((b"k%03d" % number, b"v") for number in range(128)))
    page = await store.read(b"k")
    assert {item.mod_revision for item in page.items} == {revision}
    assert len(page.items) == 128


async def test_a_deleted_key_is_gone_and_made_anew_later(store: MetadataStore) -> None:
    first = await put(store, (b"a", b"1"))
    await store.transact([], [DeleteKey(b"a")])
    assert await values(store) == {}
    second = await put(store, (b"a", b"2"))
    assert second == first + 2
    assert (await store.read(b"a")).items[0].create_revision == second


async def test_deleting_what_is_not_there_changes_nothing(store: MetadataStore) -> None:
    before = await put(store, (b"a", b"1"))
    done = await store.transact([], [DeleteKey(b"b")])
    assert done.succeeded
    assert done.revision == before


async def test_empty_values_differ_from_no_values(store: MetadataStore) -> None:
    await put(store, (b"a", b""))
    assert await values(store) == {b"a": b""}


@pytest.mark.parametrize("key", [b"\x00", b"\xff", b"\xff\xff\x00", b"a/\xe2\x82\xac"])
async def test_keys_are_any_bytes(store: MetadataStore, key: bytes) -> None:
    await put(store, (key, b"v"))
    assert await values(store, key) == {key: b"v"}


async def test_a_prefix_takes_its_keys_and_no_others(store: MetadataStore) -> None:
    await put(store, (b"a", b""), (b"a/1", b""), (b"a/2", b""), (b"a0", b""), (b"b", b""))
    assert sorted(await values(store, b"a/")) == [b"a/1", b"a/2"]
    assert sorted(await values(store, b"\xff")) == []


@pytest.mark.parametrize(
    ("prefix", "end"), [(b"a", b"b"), (b"a\xff", b"b"), (b"\xff", None), (b"", None)]
)
def test_a_prefix_ends_before_the_next_one(prefix: bytes, end: bytes | None) -> None:
    assert prefix_end(prefix) == end


async def test_pages_of_one_revision_show_one_moment(store: MetadataStore) -> None:
    await put(store, *((b"k%d" % number, b"old") for number in range(5)))
    first = await store.read(b"k", limit=2)
    assert [item.key for item in first.items] == [b"k0", b"k1"]
    assert first.more
    await store.transact([], [PutKey(b"k3", b"new"), DeleteKey(b"k4"), PutKey(b"k11", b"new")])
    second = await store.read(b"k", after=b"k1", limit=2, revision=first.revision)
    third = await store.read(b"k", after=b"k3", limit=2, revision=first.revision)
    assert [(item.key, item.value) for item in (*second.items, *third.items)] == [
        (b"k2", b"old"),
        (b"k3", b"old"),
        (b"k4", b"old"),
    ]
    assert second.more
    assert not third.more


async def test_an_exact_page_says_that_nothing_follows(store: MetadataStore) -> None:
    await put(store, (b"a", b""), (b"b", b""))
    assert not (await store.read(b"", limit=2)).more


async def test_the_past_is_read_as_it_was(store: MetadataStore) -> None:
    first = await put(store, (b"a", b"1"))
    await put(store, (b"a", b"2"), (b"b", b"2"))
    assert await values(store, revision=first) == {b"a": b"1"}


async def test_the_future_is_refused(store: MetadataStore) -> None:
    revision = await put(store, (b"a", b"1"))
    with pytest.raises(FutureRevisionError):
        await store.read(b"", revision=revision + 1)


async def test_a_compare_that_fails_changes_nothing(store: MetadataStore) -> None:
    revision = await put(store, (b"a", b"1"))
    for compare in (
        CreateRevisionIs(b"a", 0),
        CreateRevisionIs(b"a", revision + 1),
        ModRevisionIs(b"a", 0),
        ModRevisionIs(b"none", revision),
    ):
        done = await store.transact([compare], [PutKey(b"a", b"2"), PutKey(b"b", b"2")])
        assert not done.succeeded
        assert done.revision == revision
    assert await values(store) == {b"a": b"1"}


async def test_one_compare_of_several_that_fails_is_enough(store: MetadataStore) -> None:
    revision = await put(store, (b"a", b"1"))
    compares: list[Compare] = [ModRevisionIs(b"a", revision), CreateRevisionIs(b"a", 0)]
    assert not (await store.transact(compares, [DeleteKey(b"a")])).succeeded


async def test_compares_hold_for_what_is_and_what_is_not(store: MetadataStore) -> None:
    made = await put(store, (b"a", b"1"))
    written = await put(store, (b"a", b"2"))
    compares: list[Compare] = [
        CreateRevisionIs(b"a", made),
        ModRevisionIs(b"a", written),
        CreateRevisionIs(b"b", 0),
        ModRevisionIs(b"b", 0),
    ]
    assert (await store.transact(compares, [PutKey(b"b", b"1")])).succeeded


async def test_a_deleted_key_compares_as_one_that_never_was(store: MetadataStore) -> None:
    await put(store, (b"a", b"1"))
    await store.transact([], [DeleteKey(b"a")])
    assert (await store.transact([CreateRevisionIs(b"a", 0)], [PutKey(b"a", b"2")])).succeeded


async def test_of_two_writers_with_one_compare_one_wins(store: MetadataStore) -> None:
    outcomes = await asyncio.gather(
        *(
            store.transact([CreateRevisionIs(b"leader", 0)], [PutKey(b"leader", b"%d" % number)])
            for number in range(8)
        )
    )
    assert sum(done.succeeded for done in outcomes) == 1


async def test_a_transaction_holds_128_operations_and_one_and_a_half_mebibytes(
    store: MetadataStore,
) -> None:
    most = [PutKey(b"k%03d" % number, b"") for number in range(TRANSACTION_OPERATIONS_MAX)]
    assert (await store.transact([], most)).succeeded
    with pytest.raises(ValueError, match="128 operations"):
        await store.transact([], [*most, PutKey(b"one more", b"")])
    with pytest.raises(ValueError, match="bytes"):
        await store.transact([], [PutKey(b"k", bytes(TRANSACTION_SIZE_MAX))])
    assert (await store.transact([], [PutKey(b"k", bytes(TRANSACTION_SIZE_MAX - 1))])).succeeded


async def test_a_transaction_writes_a_key_once(store: MetadataStore) -> None:
    with pytest.raises(ValueError, match="once"):
        await store.transact([], [PutKey(b"a", b"1"), DeleteKey(b"a")])


async def test_a_compacted_past_cannot_be_read_and_the_present_can(store: MetadataStore) -> None:
    first = await put(store, (b"a", b"1"), (b"b", b"1"))
    await store.transact([], [PutKey(b"a", b"2"), DeleteKey(b"b")])
    last = await put(store, (b"c", b"3"))
    await store.compact(last)
    with pytest.raises(CompactedError) as caught:
        await store.read(b"", revision=first)
    assert caught.value.compacted_revision == last
    assert await values(store, revision=last) == {b"a": b"2", b"c": b"3"}
    assert (await store.read(b"a")).items[0].create_revision == first


async def test_compaction_keeps_what_was_current_then(store: MetadataStore) -> None:
    first = await put(store, (b"a", b"1"))
    second = await put(store, (b"a", b"2"))
    third = await put(store, (b"a", b"3"))
    await store.compact(second)
    assert await values(store, revision=second) == {b"a": b"2"}
    assert await values(store, revision=third) == {b"a": b"3"}
    for refused in (first, second):
        with pytest.raises(CompactedError):
            await store.compact(refused)
    with pytest.raises(FutureRevisionError):
        await store.compact(third + 1)
