"""Watchers get a snapshot, then every change; who falls behind gets a snapshot again."""

from __future__ import annotations

import pytest

from kit.clock import settle
from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import WatchClusterMetadataResponse
from ottla.storage.metadata.v1.metadata_record_pb2 import BrokerRecord, PartitionRecord
from ottla_controller.control import feed as feed_module
from ottla_controller.control.feed import cut, cut_records
from ottla_controller.core.publication import as_change
from ottla_controller.core.result import Put, Result
from ottla_controller.core.state import ClusterState

from .control_context import ControllerContext


def put_broker(node_id: int, rack: str = ""):  # type: ignore[no-untyped-def]  # a handler
    def handler(state: ClusterState) -> Result[None]:
        return Result(None, ((Put(BrokerRecord(node_id=node_id, rack=rack, fenced=True)),),))

    return handler


async def test_changes_are_gathered_for_a_moment_and_told_once() -> None:
    async with ControllerContext.running() as context:
        start, _ = context.feed.snapshot()
        for rack in "abc":
            await context.write(put_broker(1, rack))
        assert context.feed.after(start) == []
        await context.clock.advance(20)
        (delta,) = context.feed.after(start) or []
        assert (delta.base_revision, delta.revision) == (start, context.image.visible_revision)
        assert [change.broker.rack for change in delta.chunks[0].changes] == ["c"]


async def test_a_snapshot_shows_what_is_pending_and_deltas_follow_on_it() -> None:
    async with ControllerContext.running() as context:
        await context.write(put_broker(1))
        revision, records = context.feed.snapshot()
        assert revision == context.image.visible_revision
        assert [each.node_id for each in records if isinstance(each, BrokerRecord)] == [1]
        assert context.feed.after(revision) == []
        await context.write(put_broker(2))
        await context.clock.advance(20)
        assert [delta.base_revision for delta in context.feed.after(revision) or []] == [revision]


async def test_a_watcher_resumes_where_the_history_goes_on_and_nowhere_else() -> None:
    async with ControllerContext.running() as context:
        start, _ = context.feed.snapshot()
        await context.write(put_broker(1))
        await context.write(put_broker(2))
        await context.clock.advance(20)
        end = context.feed.revision
        assert context.feed.can_resume(MetadataVersion(generation=1, revision=start))
        assert context.feed.can_resume(MetadataVersion(generation=1, revision=end))
        for generation, revision in ((1, end - 1), (1, end + 1), (2, start), (0, end)):
            version = MetadataVersion(generation=generation, revision=revision)
            assert not context.feed.can_resume(version)


async def test_who_falls_behind_the_history_needs_a_snapshot(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feed_module, "DELTAS_MAX", 3)
    async with ControllerContext.running() as context:
        start, _ = context.feed.snapshot()
        for node_id in range(1, 5):
            await context.write(put_broker(node_id))
            context.feed.flush()
        assert context.feed.after(start) is None
        assert context.feed.after(context.feed.revision) == []


async def test_the_history_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed_module, "HISTORY_BYTES_MAX", 100)
    async with ControllerContext.running() as context:
        start, _ = context.feed.snapshot()
        for node_id in range(1, 4):
            await context.write(put_broker(node_id, "r" * 80))
            context.feed.flush()
        assert context.feed.after(start) is None
        assert len(context.feed.after(context.feed.revision - 1) or []) == 1


async def test_after_everything_was_read_anew_a_snapshot_is_needed() -> None:
    async with ControllerContext.running() as context:
        await context.write(put_broker(1))
        context.feed.flush()
        before = context.feed.revision
        await context.store.compact(context.store.revision)
        await context.image.load()
        assert context.feed.revision == context.image.visible_revision
        assert context.feed.after(before) in (None, [])


async def test_watchers_are_woken_by_deltas_and_for_signs_of_life() -> None:
    async with ControllerContext.running() as context:
        context.feed.flush()
        moved = context.feed.join()
        await context.write(put_broker(1))
        assert not moved.is_set()
        await context.clock.advance(20)
        assert moved.is_set()
        moved.clear()
        await context.advance(15_000)
        assert moved.is_set()
        assert context.feed.heartbeat_count == 1
        context.feed.leave(moved)
        assert context.feed.watcher_count == 0


def test_messages_stay_under_a_mebibyte_and_lose_nothing() -> None:
    records = [
        PartitionRecord(topic_id=bytes(16), partition=number, isr=list(range(100)))
        for number in range(10_000)
    ]
    chunks = list(cut_records(records))
    assert len(chunks) > 1
    assert [change.partition for chunk in chunks for change in chunk.changes] == records
    assert all(chunk.size <= 900_000 for chunk in chunks)
    assert list(cut([])) == []


def test_a_change_larger_than_a_message_goes_alone() -> None:
    large = as_change(BrokerRecord(node_id=1, rack="r" * 1_000_000))
    small = as_change(BrokerRecord(node_id=2))
    assert [len(chunk.changes) for chunk in cut([small, large, small])] == [1, 1, 1]


async def test_the_image_follows_through_an_outage_and_a_compaction() -> None:
    async with ControllerContext.running() as context:
        await context.write(put_broker(1))
        context.store.unavailable = True
        await context.advance(500)
        context.store.unavailable = False
        await context.advance(500)
        await context.write(put_broker(2))
        assert sorted(context.state.brokers) == [1, 2]
        await settle()


async def test_a_snapshot_is_encoded_once_until_something_changes() -> None:
    async with ControllerContext.running() as context:
        await context.write(put_broker(1))
        first = context.feed.shared_snapshot()
        assert first.portion(0) is context.feed.shared_snapshot().portion(0)
        assert first.portion(1) is None
        revision, records = context.feed.snapshot()
        message = WatchClusterMetadataResponse.FromString(first.portion(0) or b"")
        assert [change.WhichOneof("change") for change in message.changes] == [
            as_change(record).WhichOneof("change") for record in records
        ]
        await context.write(put_broker(2))
        later = context.feed.shared_snapshot()
        assert later.revision > first.revision == revision
