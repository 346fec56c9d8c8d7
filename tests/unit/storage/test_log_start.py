"""Where a log begins: durable before it is told, kept by files that go, respected by queries."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.offloads import HeldOffload
from kit.storage import StorageContext, values_of
from ottla.protocol.errors import StorageFull
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import DirectoryFailed, LogCorrupted

NOW_MS = 1_700_000_000_000


async def test_refused_log_start_has_not_moved(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        context.filesystem.errors["rename"] = errno.ENOSPC
        for _ in range(2):
            with pytest.raises(StorageFull):
                await partition.delete_records(1)
            assert partition.log_start_offset == 0
        context.filesystem.errors.clear()
        await partition._log.surroundings.home.checkpoint()
    async with context.opened() as table:
        assert (await context.leader(table)).log_start_offset == 0


async def test_log_start_is_seen_and_answered_once_it_is_durable(tmp_path: Path) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        offload.holds = True
        first = group.create_task(partition.delete_records(1))
        await offload.held(1)
        second = group.create_task(partition.delete_records(1))
        for _ in range(5):
            await asyncio.sleep(0)
        assert (first.done(), second.done(), partition.log_start_offset) == (False, False, 0)
        first.cancel()
        offload.holds = False
        await offload.release()
        assert await second == 1
        after = await context.crashed("after")
    async with after.opened() as table:
        assert (await after.leader(table)).log_start_offset == 1


async def test_log_start_survives_power_loss_where_nobody_waits_for_flushes(
    context: StorageContext,
) -> None:
    context.config = LogConfig(flush_on_ack=False)
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        assert await partition.delete_records(None) == 1
        after = await context.crashed("after")
    async with after.opened() as table:
        assert (await after.leader(table)).log_start_offset == 1


async def test_segments_given_up_may_be_removed_in_any_order(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(5):
            await partition.append([make_batch(b"%d" % number * 800)], acks=Acks.ALL)
        await partition.delete_records(3)
    lost = context.paths[0] / "topic-0" / f"{1:020d}.log"
    await asyncio.to_thread(lost.unlink)
    async with context.opened() as table:
        partition = await context.leader(table)
        assert await values_of(partition) == [b"3" * 800, b"4" * 800]
        assert context.seen(LogCorrupted) == []
        assert f"{0:020d}.log" not in await asyncio.to_thread(context.files)


async def test_retention_says_where_the_log_begins_before_files_go(tmp_path: Path) -> None:
    context = StorageContext(tmp_path)
    context.config = LogConfig(segment_bytes=1_024, retention_bytes=900)
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(4):
            await partition.append([make_batch(b"%d" % number * 800)], acks=Acks.ALL)
        context.filesystem.calls.clear()
        await partition._log.trim.apply_retention()
        calls = context.filesystem.calls
        assert calls.index("rename") < calls.index("unlink")
        assert partition.log_start_offset == 2


async def test_retention_frees_a_full_disk(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024, retention_bytes=800)
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a" * 800)], acks=Acks.ALL)
        context.filesystem.room = make_batch(b"b" * 800).frame_size
        await partition.append([make_batch(b"b" * 800)], acks=Acks.ALL)
        await partition._log.trim.apply_retention()
        assert partition.log_start_offset == 1
        assert f"{0:020d}.log" not in await asyncio.to_thread(context.files)
        context.filesystem.room = None
        await partition.append([make_batch(b"c" * 800)], acks=Acks.ALL)
        assert await values_of(partition) == [b"b" * 800, b"c" * 800]


async def test_query_by_time_passes_over_segments_removed_meanwhile(tmp_path: Path) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        for number in range(6):
            batch = make_batch(b"%d" % number * 800, time_ms=NOW_MS + number)
            await partition.append([batch], acks=Acks.ALL)
        offload.holds = True
        query = group.create_task(partition.offset_for_time(NOW_MS))
        await offload.held(1)
        offload.holds = False
        await partition.delete_records(4)
        await partition._log.trim.apply_retention()
        await offload.release()
        found = await query
        assert found is not None
        assert found.offset in {0, 4}
        assert context.seen(DirectoryFailed) == []


async def test_times_below_the_log_start_are_not_found(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        first = make_batch(b"a", b"b", times_ms=[NOW_MS + 100, NOW_MS + 1])
        await partition.append([first], acks=Acks.ALL)
        await partition.append([make_batch(b"c", time_ms=NOW_MS + 70)], acks=Acks.ALL)
        await partition.append([make_batch(b"d", time_ms=NOW_MS + 60)], acks=Acks.ALL)
        await partition.delete_records(1)
        found = await partition.offset_for_time(NOW_MS + 50)
        assert found is not None
        assert (found.offset, found.timestamp_ms) == (2, NOW_MS + 70)
        largest = await partition.offset_of_max_timestamp()
        assert largest is not None
        assert (largest.offset, largest.timestamp_ms) == (2, NOW_MS + 70)
        await partition.delete_records(3)
        largest = await partition.offset_of_max_timestamp()
        assert largest is not None
        assert (largest.offset, largest.timestamp_ms) == (3, NOW_MS + 60)
