"""Conformance of a metadata store: watches give every revision in order, whole and once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest

from ottla_controller.store.interface import (
    CompactedError,
    DeleteKey,
    KeyEvent,
    MetadataStore,
    PutKey,
    RevisionEvents,
)


async def put(store: MetadataStore, *pairs: tuple[bytes, bytes]) -> int:
    return (await store.transact([], [PutKey(key, value) for key, value in pairs])).revision


async def taken(revisions: AsyncIterator[RevisionEvents], count: int) -> list[RevisionEvents]:
    return [await anext(revisions) for _ in range(count)]


async def test_a_watch_tells_what_happened_before_it_began(store: MetadataStore) -> None:
    first = await put(store, (b"a", b"1"), (b"b", b"1"))
    await store.transact([], [PutKey(b"a", b"2"), DeleteKey(b"b")])
    async with store.watch(b"", from_revision=first) as revisions:
        assert await taken(revisions, 2) == [
            RevisionEvents(first, (KeyEvent(b"a", b"1", first), KeyEvent(b"b", b"1", first))),
            RevisionEvents(first + 1, (KeyEvent(b"a", b"2", first), KeyEvent(b"b", None, 0))),
        ]


async def test_a_watch_waits_for_what_is_to_come(store: MetadataStore) -> None:
    revision = await put(store, (b"a", b"1"))
    async with store.watch(b"", from_revision=revision + 1) as revisions:
        async with asyncio.TaskGroup() as group:
            next_one = group.create_task(taken(revisions, 1), name="watch")
            later = await put(store, (b"a", b"2"))
        assert [each.revision for each in next_one.result()] == [later]


async def test_a_watch_tells_of_its_prefix_alone(store: MetadataStore) -> None:
    first = await put(store, (b"a/1", b""), (b"b/1", b""))
    await put(store, (b"b/2", b""))
    last = await put(store, (b"a/2", b""))
    async with store.watch(b"a/", from_revision=first) as revisions:
        seen = await taken(revisions, 2)
    assert [[event.key for event in each.events] for each in seen] == [[b"a/1"], [b"a/2"]]
    assert seen[-1].revision == last


async def test_a_watch_from_the_future_waits_for_that_revision(store: MetadataStore) -> None:
    now = await put(store, (b"a", b"0"))
    async with store.watch(b"", from_revision=now + 3) as revisions:
        for number in range(1, 4):
            await put(store, (b"a", b"%d" % number))
        (seen,) = await taken(revisions, 1)
    assert seen.revision == now + 3
    assert seen.events[0].value == b"3"


async def test_many_revisions_arrive_in_order_and_none_twice(store: MetadataStore) -> None:
    first = await put(store, (b"k", b"0"))
    async with store.watch(b"", from_revision=first) as revisions:
        early = await taken(revisions, 1)
        for number in range(1, 200):
            await put(store, (b"k", b"%d" % number))
        late = await taken(revisions, 199)
    assert [each.revision for each in (*early, *late)] == list(range(first, first + 200))
    assert [int(each.events[0].value or b"") for each in (*early, *late)] == list(range(200))


async def test_revisions_of_any_size_arrive_whole(store: MetadataStore) -> None:
    first = await put(store, (b"k0", b""))
    for number in range(1, 6):
        value = b"%d" % number * 150_000
        await put(store, *((b"k%d" % each, value) for each in range(number + 2)))
    async with store.watch(b"", from_revision=first) as revisions:
        seen = await taken(revisions, 6)
    assert [len(each.events) for each in seen] == [1, 3, 4, 5, 6, 7]
    for number, each in enumerate(seen[1:], start=1):
        assert {event.value for event in each.events} == {b"%d" % number * 150_000}


async def test_several_watches_each_see_everything(store: MetadataStore) -> None:
    first = await put(store, (b"a", b"1"))
    async with (
        store.watch(b"", from_revision=first) as one,
        store.watch(b"", from_revision=first) as other,
    ):
        await put(store, (b"a", b"2"))
        assert await taken(one, 2) == await taken(other, 2)


async def test_a_watch_behind_the_compaction_says_so(store: MetadataStore) -> None:
    first = await put(store, (b"a", b"1"))
    last = await put(store, (b"a", b"2"))
    await put(store, (b"a", b"3"))
    await store.compact(last)
    async with store.watch(b"", from_revision=first) as revisions:
        with pytest.raises(CompactedError):
            await anext(revisions)
    async with store.watch(b"", from_revision=last + 1) as revisions:
        assert (await taken(revisions, 1))[0].revision == last + 1


async def test_a_watch_that_compaction_overtakes_leaves_nothing_out_without_saying_so(
    store: MetadataStore,
) -> None:
    first = await put(store, (b"a", b"1"))
    async with store.watch(b"", from_revision=first) as revisions:
        await taken(revisions, 1)
        second = await put(store, (b"a", b"2"))
        await store.compact(await put(store, (b"a", b"3")))
        seen = []
        with suppress(CompactedError):  # what is at hand already may be given out
            seen = await taken(revisions, 2)
    assert [each.revision for each in seen] in ([], [second, second + 1])


async def test_a_deletion_at_the_compacted_revision_is_not_left_out(store: MetadataStore) -> None:
    await put(store, (b"a", b"1"), (b"b", b"1"))
    deleted = (await store.transact([], [DeleteKey(b"a")])).revision
    await put(store, (b"b", b"2"))
    await store.compact(deleted)
    async with store.watch(b"", from_revision=deleted) as revisions:
        with pytest.raises(CompactedError):
            await anext(revisions)
