"""Full disks, failing disks and short writes: a clear refusal, and nothing torn is left."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Awaitable
from pathlib import Path

import pytest

from kit.batches import make_batch
from kit.offloads import HeldOffload
from kit.storage import TOPIC_ID, StorageContext, values_of
from ottla.protocol.errors import OttlaError, OutcomeUnknown, StorageFull, StorageOffline
from ottla.protocol.ids import TopicId
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import AppendRefusedFull, DirectoryFailed
from ottla_broker.storage.filesystem import Descriptors


async def test_full_disk_refuses_appends_and_serves_reads(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        size = partition.size
        for room in (0, 1, 50, 150):
            context.filesystem.room = room
            with pytest.raises(StorageFull):
                await partition.append([make_batch(b"v" * 100)], acks=Acks.ALL)
            assert (partition.size, partition.log_end_offset) == (size, 1)
            assert await values_of(partition) == [b"a"]
            assert context.filesystem.room == room
        path = context.paths[0] / "topic-0" / "00000000000000000000.log"
        assert len(await asyncio.to_thread(path.read_bytes)) == size
        assert len(context.seen(AppendRefusedFull)) == 1
        context.filesystem.room = None
        await partition.append([make_batch(b"b")], acks=Acks.ALL)
        assert await values_of(partition) == [b"a", b"b"]
        assert context.seen(DirectoryFailed) == []


async def test_second_batch_that_does_not_fit_takes_the_first_back(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        first, second = make_batch(b"a"), make_batch(b"b")
        context.filesystem.room = first.frame_size + second.frame_size - 1
        with pytest.raises(StorageFull):
            await partition.append([first, second], acks=Acks.ALL)
        assert (partition.log_end_offset, partition.size) == (0, 0)


async def test_full_disk_at_a_roll_refuses_the_append(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"v" * 800)], acks=Acks.ALL)
        context.filesystem.errors["create"] = errno.ENOSPC
        with pytest.raises(StorageFull):
            await partition.append([make_batch(b"w" * 800)], acks=Acks.ALL)
        context.filesystem.errors.clear()
        await partition.append([make_batch(b"x" * 800)], acks=Acks.ALL)
        assert await values_of(partition) == [b"v" * 800, b"x" * 800]


async def test_full_disk_survives_a_restart_and_serves_reads(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    values = [b"%d" % number * 300 for number in range(9)]
    async with context.opened() as table:
        partition = await context.leader(table)
        for value in values:
            await partition.append([make_batch(value)], acks=Acks.ALL)
    async with context.opened() as table:
        await context.leader(table)
        context.filesystem.room = 0
        await context.clock.advance(5_000)
        assert context.seen(DirectoryFailed) == []
    async with context.opened() as table:
        partition = table.partitions()[0]
        context.filesystem.room = None
        await partition.become_leader(9)
        assert await values_of(partition) == values


async def test_full_disk_refuses_new_replicas(context: StorageContext) -> None:
    async with context.opened() as table:
        context.filesystem.room = 0
        with pytest.raises(StorageFull):
            await context.create(table)
        context.filesystem.room = None
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)


async def test_full_disk_lets_records_be_deleted(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(9):
            await partition.append([make_batch(b"%d" % number)], acks=Acks.ALL)
        context.filesystem.room = 0
        for offset in range(1, 9):
            assert await partition.delete_records(offset) == offset
        after = await context.crashed("after")
    async with after.opened() as table:
        after.filesystem.room = 0
        assert (await after.leader(table)).log_start_offset == 8
        assert await table.partitions()[0].delete_records(9) == 9


@pytest.mark.parametrize("size_max", [1, 7, 60])
async def test_short_writes_go_on_where_they_stopped(
    context: StorageContext, size_max: int
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        context.filesystem.write_size_max = size_max
        await partition.append([make_batch(b"a" * 50), make_batch(b"b")], acks=Acks.ALL)
        assert await values_of(partition) == [b"a" * 50, b"b"]


@pytest.mark.parametrize("operation", ["pwritev", "pread"])
async def test_failing_disk_takes_its_directory_offline(
    context: StorageContext, operation: str
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        context.filesystem.errors[operation] = errno.EIO
        with pytest.raises(StorageOffline):
            if operation == "pwritev":
                await partition.append([make_batch(b"b")], acks=Acks.ALL)
            else:
                await partition.read(0, max_bytes=10)
        context.filesystem.errors.clear()
        with pytest.raises(StorageOffline):
            await partition.append([make_batch(b"b")], acks=Acks.ALL)
        with pytest.raises(StorageOffline):
            await partition.wait_for(1)
        with pytest.raises(StorageOffline):
            await partition.delete_records(0)
        with pytest.raises(StorageOffline):
            await table.open_partition(
                TopicId(b"x" * 16), "other", 0, config=LogConfig(), directory_id=None
            )
        assert len(context.seen(DirectoryFailed)) == 1
    async with context.opened() as table:
        assert await values_of(await context.leader(table)) == [b"a"]


async def test_waiting_reader_learns_that_the_disk_failed(context: StorageContext) -> None:
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)

        async def wait() -> None:
            with pytest.raises(StorageOffline):
                await partition.wait_for(0)

        reader = group.create_task(wait(), name="reader")
        await asyncio.sleep(0)
        context.filesystem.errors["pwritev"] = errno.EIO
        with pytest.raises(StorageOffline):
            await partition.append([make_batch(b"b")], acks=Acks.ALL)
        await reader


async def test_file_that_cannot_be_cut_back_takes_the_directory_offline(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        context.filesystem.room = 20
        context.filesystem.errors["truncate"] = errno.EIO
        with pytest.raises(StorageFull):
            await partition.append([make_batch(b"b")], acks=Acks.ALL)
        with pytest.raises(StorageOffline):
            await partition.append([make_batch(b"b")], acks=Acks.ALL)
    context.filesystem.errors.clear()
    context.filesystem.room = None
    async with context.opened() as table:
        assert await values_of(await context.leader(table)) == [b"a"]


async def test_failing_checkpoint_takes_the_directory_offline(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        context.filesystem.errors["rename"] = errno.EIO
        with pytest.raises(StorageOffline):
            await partition.delete_records(1)
        with pytest.raises(StorageOffline):
            await partition.read(1, max_bytes=10)


async def test_deleting_and_reading_at_once_harms_only_the_reader(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(20):
            await partition.append([make_batch(b"%d" % number * 200)], acks=Acks.ALL)
        held = await partition.read(0, max_bytes=10)
        assert held is not None
        await table.delete_partition(TOPIC_ID, 0)
        assert await asyncio.to_thread(context.files) == []
        fd = held.file.fileno()
        data = await asyncio.to_thread(context.filesystem.pread, fd, held.size, held.position)
        assert len(data) == held.size
        held.release()
        assert context.seen(DirectoryFailed) == []


async def test_want_of_descriptors_fails_the_call_and_not_the_directory(
    context: StorageContext,
) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table:
        partition = await context.leader(table)
        values = [b"%d" % number * 300 for number in range(9)]
        for value in values:
            await partition.append([make_batch(value)], acks=Acks.ALL)
        for operation in ("open", "create"):
            context.filesystem.errors[operation] = errno.EMFILE
        with pytest.raises(StorageOffline):
            await partition.read(0, max_bytes=10)
        with pytest.raises(StorageOffline):
            await partition.append([make_batch(b"v" * 900)], acks=Acks.ALL)
        with pytest.raises(StorageOffline):
            await partition.delete_records(1)
        context.filesystem.errors.clear()
        assert await partition.delete_records(1) == 1
        assert await values_of(partition) == values[1:]
        assert context.seen(DirectoryFailed) == []


async def test_new_logs_leave_descriptors_for_all_else(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        context.filesystem.descriptors_left = Descriptors(limit=1_000, left=251)
        new = [context.create(table, number) for number in (1, 2, 3)]
        made = await asyncio.gather(*new, return_exceptions=True)
        refused = [each for each in made if isinstance(each, StorageFull)]
        assert len(refused) >= 2
        assert "raise the limit" in refused[0].message
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        context.filesystem.descriptors_left = Descriptors(limit=1_000, left=500)
        for number in (1, 2, 3):
            if table.find("topic", number) is None:
                await context.create(table, number)
        assert len(table.partitions()) == 4
        assert context.seen(DirectoryFailed) == []


async def test_more_logs_than_files_may_be_open_are_not_begun_with(context: StorageContext) -> None:
    async with context.opened() as table:
        for number in range(3):
            await context.leader(table, number)
    context.filesystem.descriptors_left = Descriptors(limit=1_000, left=2)
    with pytest.raises(StorageOffline, match=r"has 3 partitions.*raise the limit"):
        async with context.opened():
            pass
    context.filesystem.descriptors_left = None
    async with context.opened() as table:
        assert len(table.partitions()) == 3


async def test_directory_that_fails_once_its_logs_are_open_closes_them(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        await context.leader(table)
    epochs = context.paths[0] / "leader-epochs"
    await asyncio.to_thread(epochs.write_bytes, b"damaged")
    context.filesystem.errors["link"] = errno.EIO
    with pytest.raises(StorageOffline):
        async with context.opened():
            pass
    assert context.filesystem.open_paths == []
    context.filesystem.errors.clear()
    async with context.opened() as table:
        assert len(table.partitions()) == 1


async def test_replicas_that_could_not_be_made_leave_nothing_behind(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        context.filesystem.room = 0
        for number in range(3):
            with pytest.raises(StorageFull):
                await context.create(table, number)
        (directory,) = table._directories
        assert directory.changes._making == {}


async def test_flush_that_lacks_a_descriptor_is_made_up_for(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a" * 800)], acks=Acks.ALL)
        context.filesystem.errors["sync_directory"] = errno.EMFILE
        append = group.create_task(
            partition.append([make_batch(b"b" * 800)], acks=Acks.ALL), name="append"
        )
        while context.filesystem.calls[-1] != "sync_directory":  # noqa: ASYNC110 - made by a thread
            await asyncio.sleep(0)
        assert not append.done()
        context.filesystem.errors.clear()
        await context.clock.advance(5_000)
        assert (await append).base_offset == 1
        assert context.seen(DirectoryFailed) == []


async def test_flush_that_lacked_memory_has_failed(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        context.filesystem.errors["datasync"] = errno.ENOMEM
        with pytest.raises(OutcomeUnknown):
            await partition.append([make_batch(b"a")], acks=Acks.ALL)
        assert len(context.seen(DirectoryFailed)) == 1


@pytest.mark.parametrize("is_checkpoint", [False, True], ids=["flush", "checkpoint"])
async def test_work_that_its_threads_gave_up_has_failed(
    tmp_path: Path, is_checkpoint: bool
) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        offload.holds = True
        if is_checkpoint:
            waiting = group.create_task(reason_of(partition.delete_records(1)))
        else:
            waiting = group.create_task(reason_of(partition.append([make_batch()], acks=Acks.ALL)))
        await offload.held(1)
        offload.give_up()
        assert await waiting == ("STORAGE_OFFLINE" if is_checkpoint else "OUTCOME_UNKNOWN")
        assert len(context.seen(DirectoryFailed)) == 1
        offload.holds = False
        await table.close(broker_epoch=1)


async def reason_of(work: Awaitable[object]) -> str:
    try:
        await work
    except OttlaError as error:
        return error.reason
    return ""
