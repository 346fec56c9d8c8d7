"""A replica as the RPC layer uses it: led, appended to, read, asked for offsets."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.offloads import HeldOffload
from kit.storage import StorageContext, values_of
from ottla.protocol.batch import read_batch, read_head, verify_head
from ottla.protocol.compression import Codec
from ottla.protocol.errors import (
    CorruptBatch,
    LogTruncated,
    NotLeader,
    OffsetOutOfRange,
    OutcomeUnknown,
    StaleLeaderEpoch,
    StorageFull,
)
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import CompressionType, LogConfig, TimestampType
from ottla_broker.core.log_events import SegmentRolled
from ottla_broker.core.roll import RollReason
from ottla_broker.rpc.offset_queries import FoundOffset, find_offset
from ottla_broker.rpc.read_plan import BeforeEnd

NOW_MS = 1_700_000_000_000


async def test_appended_records_are_read_back_in_order(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        first = await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        second = await partition.append([make_batch(b"c"), make_batch(b"d")], acks=Acks.ALL)
        assert (first.base_offset, first.next_offset) == (0, 2)
        assert (second.base_offset, second.next_offset, second.leader_epoch) == (2, 4, 1)
        assert await values_of(partition) == [b"a", b"b", b"c", b"d"]
        assert (partition.log_start_offset, partition.high_watermark) == (0, 4)


async def test_stored_batches_carry_offset_epoch_and_both_checksums(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b"), make_batch(b"c")], acks=Acks.ALL)
        part = await partition.read(2, max_bytes=1)
        assert part is not None
        head = verify_head(await partition.load(part))
        assert (head.header.base_offset, head.header.leader_epoch) == (2, 1)
        assert head.header.append_time_ms == 0
        part.release()


async def test_read_from_inside_a_batch_returns_the_whole_batch(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a"), make_batch(b"b", b"c", b"d")], acks=Acks.ALL)
        part = await partition.read(2, max_bytes=1)
        assert part is not None
        assert (part.first_offset, part.next_offset) == (1, 4)
        assert read_head(await partition.load(part)).header.base_offset == 1
        part.release()


async def test_read_stops_at_max_bytes_but_returns_at_least_one_batch(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        batches = [make_batch(b"v" * 100) for _ in range(5)]
        await partition.append(batches, acks=Acks.ALL)
        size = batches[0].frame_size
        for max_bytes, count in [(1, 1), (size, 1), (2 * size - 1, 1), (2 * size, 2), (10**6, 5)]:
            part = await partition.read(0, max_bytes=max_bytes)
            assert part is not None
            assert (part.size, part.next_offset) == (count * size, count)
            part.release()


async def test_read_at_the_end_has_nothing_yet(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        assert await partition.read(0, max_bytes=100) is None
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        assert await partition.read(1, max_bytes=100) is None


async def test_read_outside_of_the_log_says_where_it_lies(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        for offset in (3, -1, 2**62):
            with pytest.raises(OffsetOutOfRange) as caught:
                await partition.read(offset, max_bytes=100)
            assert caught.value.metadata == {
                "topic": "topic",
                "partition": "0",
                "earliest_offset": "0",
                "latest_offset": "2",
            }


async def test_cold_pages_are_read_beside_the_loop(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a"), make_batch(b"b")], acks=Acks.ALL)
        context.filesystem.is_cold = True
        assert await values_of(partition) == [b"a", b"b"]


async def test_segments_roll_by_size_and_are_read_across(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        values = [b"%03d" % number * 50 for number in range(40)]
        for value in values:
            await partition.append([make_batch(value)], acks=Acks.ALL)
        assert len(context.seen(SegmentRolled)) >= 9
        assert await values_of(partition) == values
        assert await values_of(partition, start=17) == values[17:]


async def test_segments_roll_by_time(context: StorageContext) -> None:
    context.config = LogConfig(segment_ms=1_000)
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        await context.clock.advance(999)
        await partition.append([make_batch(b"b")], acks=Acks.ALL)
        await context.clock.advance(1)
        await partition.append([make_batch(b"c")], acks=Acks.ALL)
        assert [event.reason for event in context.seen(SegmentRolled)] == [RollReason.TIME]
        assert await values_of(partition) == [b"a", b"b", b"c"]


async def test_waiting_reader_wakes_when_its_record_is_committed(context: StorageContext) -> None:
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        second = group.create_task(partition.wait_for(1), name="second")
        first = group.create_task(partition.wait_for(0), name="first")
        await asyncio.sleep(0)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        await first
        assert not second.done()
        await partition.append([make_batch(b"b")], acks=Acks.ALL)
        await second
        await partition.wait_for(0)


async def test_reader_that_gives_up_leaves_nothing_behind(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        for _ in range(3):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0):
                    await partition.wait_for(0)
        assert not partition._readers._waiting


async def test_only_the_leader_appends_and_reads(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.create(table)
        with pytest.raises(NotLeader):
            await partition.append([make_batch()], acks=Acks.ALL)
        with pytest.raises(NotLeader):
            await partition.read(0, max_bytes=1)
        with pytest.raises(NotLeader):
            partition.latest_offset()
        assert partition.log_end_offset == 0


async def test_client_with_another_epoch_is_refused(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        with pytest.raises(StaleLeaderEpoch) as caught:
            await partition.append([make_batch()], acks=Acks.ALL, leader_epoch=4)
        assert caught.value.metadata["leader_epoch"] == "1"
        assert partition.log_end_offset == 0


async def test_leading_needs_an_epoch_above_all_in_the_log(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch()], acks=Acks.ALL)
        await partition.become_leader(1)
        partition.resign()
        with pytest.raises(StaleLeaderEpoch):
            await partition.become_leader(1)
        await partition.become_leader(5)
        assert partition.leader_epoch == 5
    async with context.opened() as table:
        partition = table.partitions()[0]
        for epoch in (1, 5):
            with pytest.raises(StaleLeaderEpoch):
                await partition.become_leader(epoch)
        await partition.become_leader(6)


async def test_readers_and_appends_that_wait_learn_of_lost_leadership(
    context: StorageContext,
) -> None:
    offload = HeldOffload()
    context = StorageContext(context.root / "held", offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        offload.holds = True
        reader = group.create_task(failure_of(partition.wait_for(0)), name="reader")
        append = group.create_task(
            failure_of(partition.append([make_batch()], acks=Acks.ALL)), name="append"
        )
        await offload.held(1)
        partition.resign()
        assert isinstance(await reader, NotLeader)
        assert isinstance(await append, OutcomeUnknown)
        offload.holds = False
        await offload.release()


async def failure_of(work: object) -> BaseException | None:
    try:
        await work  # type: ignore[misc]  # any awaitable
    except Exception as error:  # noqa: BLE001 - it is what the caller looks at
        return error
    return None


async def test_refused_batch_leaves_no_trace_of_its_call(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        bad = bytearray(make_batch(b"bad").frame)
        bad[-1] ^= 1
        with pytest.raises(CorruptBatch):
            await partition.append(
                [make_batch(b"good"), read_batch(memoryview(bytes(bad)))], acks=Acks.ALL
            )
        assert (partition.log_end_offset, partition.size) == (0, 0)


async def test_leader_sets_the_time_where_the_topic_says_so(context: StorageContext) -> None:
    context.config = LogConfig(message_timestamp_type=TimestampType.LOG_APPEND_TIME)
    async with context.opened() as table:
        partition = await context.leader(table)
        await context.clock.advance(500)
        result = await partition.append([make_batch(b"a", b"b", time_ms=5)], acks=Acks.ALL)
        assert result.append_time_ms == NOW_MS + 500
        found = await partition.offset_for_time(NOW_MS)
        assert found is not None
        assert (found.offset, found.timestamp_ms) == (0, NOW_MS + 500)


async def test_append_has_its_place_before_it_is_waited_for(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    context.config = LogConfig(compression_type=CompressionType.ZSTD)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        first = group.create_task(
            partition.append([make_batch(b"first", codec=Codec.GZIP)], acks=Acks.ALL)
        )
        second = group.create_task(
            partition.append([make_batch(b"second", codec=Codec.ZSTD)], acks=Acks.ALL)
        )
        await asyncio.sleep(0)
        first.cancel()
        await second
        assert await values_of(partition) == [b"first", b"second"]


async def test_no_append_slips_in_while_an_epoch_changes(tmp_path: Path) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        offload.holds = True
        change = group.create_task(partition.become_leader(2), name="change")
        await offload.held(1)
        with pytest.raises(NotLeader):
            await partition.append([make_batch(b"b")], acks=Acks.LEADER)
        offload.holds = False
        await offload.release()
        await change
        result = await partition.append([make_batch(b"c")], acks=Acks.ALL)
        assert (result.base_offset, result.leader_epoch) == (0, 2)


async def test_full_disk_at_a_start_is_led_for_readers_until_there_is_room(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
    async with context.opened() as table:
        context.filesystem.room = 0
        partition = await context.leader(table)
        assert await values_of(partition) == [b"a"]
        with pytest.raises(StorageFull):
            await partition.append([make_batch(b"b")], acks=Acks.ALL)
        context.filesystem.room = None
        result = await partition.append([make_batch(b"c")], acks=Acks.ALL)
        assert (result.base_offset, result.leader_epoch) == (1, context.epoch)
        assert await values_of(partition) == [b"a", b"c"]


async def test_offsets_are_found_by_time(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024, index_interval_bytes=100)
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(60):
            times = [NOW_MS + number * 10, NOW_MS + number * 10 + 5]
            await partition.append([make_batch(b"v", b"w", times_ms=times)], acks=Acks.ALL)
        assert len(context.seen(SegmentRolled)) > 3
        for number in range(60):
            for ahead, offset in [(0, 0), (1, 1), (5, 1)]:
                found = await partition.offset_for_time(NOW_MS + number * 10 + ahead)
                assert found is not None
                assert (found.offset, found.leader_epoch) == (number * 2 + offset, 1)
        assert await partition.offset_for_time(NOW_MS + 596) is None
        found = await partition.offset_for_time(0)
        assert found is not None
        assert found.offset == 0


async def test_largest_time_is_found_where_it_first_occurs(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        assert await partition.offset_of_max_timestamp() is None
        for number in range(40):
            ahead = 9_000 if number in {13, 30} else number
            await partition.append([make_batch(b"v" * 50, time_ms=NOW_MS + ahead)], acks=Acks.ALL)
        found = await partition.offset_of_max_timestamp()
        assert found is not None
        assert (found.offset, found.timestamp_ms) == (13, NOW_MS + 9_000)


async def test_offsets_are_counted_from_the_end(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(*[b"v"] * 10)], acks=Acks.ALL)
        await partition.delete_records(3)
        assert await find_offset(partition, BeforeEnd(4)) == FoundOffset(6)
        assert await find_offset(partition, BeforeEnd(400)) == FoundOffset(3)
        assert (partition.earliest_offset(), partition.latest_offset()) == (3, 10)


async def test_time_below_the_log_start_is_not_found_there(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        times = [NOW_MS + number for number in range(10)]
        await partition.append([make_batch(*[b"v"] * 10, times_ms=times)], acks=Acks.ALL)
        await partition.delete_records(4)
        found = await partition.offset_for_time(NOW_MS)
        assert found is not None
        assert (found.offset, found.timestamp_ms) == (4, NOW_MS + 4)


async def test_deleted_records_are_gone_also_after_a_crash(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(5):
            await partition.append([make_batch(b"%d" % number)], acks=Acks.ALL)
        assert await partition.delete_records(3) == 3
        with pytest.raises(OffsetOutOfRange):
            await partition.read(2, max_bytes=1)
        with pytest.raises(OffsetOutOfRange):
            await partition.delete_records(6)
        assert await values_of(partition) == [b"3", b"4"]
        after = await context.crashed("after")
    async with after.opened() as table:
        partition = await after.leader(table)
        assert partition.earliest_offset() == 3
        assert await values_of(partition) == [b"3", b"4"]


async def test_delete_up_to_the_high_watermark_empties_the_log(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        assert await partition.delete_records(None) == 2
        assert await values_of(partition) == []


async def test_unflushed_topic_acknowledges_what_is_written(context: StorageContext) -> None:
    offload = HeldOffload()
    context = StorageContext(context.root / "held", offload=offload)
    context.config = LogConfig(flush_on_ack=False)
    async with context.opened() as table:
        partition = await context.leader(table)
        offload.holds = True
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        assert partition.high_watermark == 1
        assert offload.held_count == 0
        offload.holds = False


async def test_turning_the_flush_on_flushes_first(context: StorageContext) -> None:
    context.config = LogConfig(flush_on_ack=False)
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        await partition.reconfigure(LogConfig())
        after = await context.crashed("after")
    async with after.opened() as table:
        assert await values_of(await after.leader(table)) == [b"a"]


async def test_reader_of_a_cut_off_epoch_learns_where_to_resume(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        partition.resign()
        await partition.become_leader(3)
        await partition.append([make_batch(b"c")], acks=Acks.ALL)
        partition.check_last_read(2, last_read_epoch=1)
        partition.check_last_read(3, last_read_epoch=3)
        with pytest.raises(LogTruncated) as caught:
            partition.check_last_read(3, last_read_epoch=1)
        assert caught.value.metadata["divergence_offset"] == "2"
        assert caught.value.metadata["divergence_epoch"] == "1"
