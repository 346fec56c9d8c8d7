"""A log that was cut or damaged at any byte: what is whole stays, nothing torn is served."""

from __future__ import annotations

import asyncio
import errno
import shutil
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kit.batches import make_batch
from kit.storage import TOPIC_ID, StorageContext, values_of
from ottla.protocol.batch import Batch, iter_batches, stamp, verify_crc, verify_header_crc
from ottla.protocol.compression import Codec
from ottla.protocol.errors import CorruptLog, OutcomeUnknown
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import (
    CheckpointDamaged,
    EpochsRebuilt,
    IndexRebuilt,
    LogCorrupted,
    LogEvent,
    LogRecovered,
    TailCut,
)
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.storage.checkpoints import Marks
from ottla_broker.storage.filesystem import OsFilesystem
from ottla_broker.storage.kept_epochs import NO_EPOCHS
from ottla_broker.storage.log_opening import LogOpening
from ottla_broker.storage.partition_log import LogContent
from ottla_broker.storage.replica_files import CORRUPTION_FILE, ReplicaFiles

NAME = ReplicaName(TOPIC_ID, "topic", 0)
SEGMENT = "00000000000000000000.log"


def batches() -> list[tuple[int, Batch]]:
    """A batch of each kind there is to damage, with how many records it has."""
    headers = [("trace", b"7f"), ("empty", None)]
    return [
        (1, make_batch(b"a")),
        (2, make_batch(b"b", b"c", key=b"k", headers=headers)),
        (1, make_batch(b"d" * 30, codec=Codec.ZSTD)),
        (2, make_batch(b"e", b"f", key=b"", codec=Codec.LZ4)),
    ]


class Written:
    """A segment of four batches, and a directory that is made anew for every damage."""

    def __init__(self, root: Path) -> None:
        self.directory = root / "topic-0"
        self.data = b""
        self.ends = [0]
        self.next_offsets = [0]
        for count, batch in batches():
            frame = bytearray(batch.frame)
            stamp(frame, base_offset=self.next_offsets[-1], leader_epoch=1, append_time_ms=0)
            self.data += frame
            self.ends.append(len(self.data))
            self.next_offsets.append(self.next_offsets[-1] + count)

    def open(
        self, data: bytes, recovery_point: int | None, *, name: str = SEGMENT
    ) -> tuple[LogContent | LogCorrupted, list[LogEvent]]:
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir()
        (self.directory / name).write_bytes(data)
        events: list[LogEvent] = []
        opening = LogOpening(
            ReplicaFiles(self.directory, NAME, OsFilesystem()),
            marks=Marks(recovery_point, 0, 0),
            epochs=NO_EPOCHS,
            is_clean=False,
            interval_bytes=100,
            now_ms=5,
            events=events.append,
        )
        opened = opening.open()
        if isinstance(opened, LogContent):
            for segment in opened.segments:
                segment.close()
        return opened, events

    def left(self) -> bytes:
        """What is in the segment now, every batch of it verified."""
        data = (self.directory / SEGMENT).read_bytes()
        for batch in iter_batches(data):
            verify_crc(batch)
            verify_header_crc(batch)
        return data

    def whole_before(self, position: int) -> int:
        """How many batches end at or before a position."""
        return sum(end <= position for end in self.ends[1:])


@pytest.fixture
def written(tmp_path: Path) -> Written:
    return Written(tmp_path)


@pytest.mark.slow
def test_tail_cut_at_every_byte_leaves_the_whole_batches(written: Written) -> None:
    for size in range(len(written.data)):
        opened, events = written.open(written.data[:size], 0)
        assert isinstance(opened, LogContent)
        count = written.whole_before(size)
        assert opened.state.log_end == written.next_offsets[count]
        assert written.left() == written.data[: written.ends[count]]
        cut = [event for event in events if isinstance(event, TailCut)]
        assert [event.lost_size for event in cut] == ([size - written.ends[count]] if cut else [])
        assert bool(cut) == (size != written.ends[count])


@pytest.mark.slow
def test_flip_at_every_byte_above_the_recovery_point_cuts_there(written: Written) -> None:
    for position in range(len(written.data)):
        damaged = bytearray(written.data)
        damaged[position] ^= 0x10
        opened, _ = written.open(bytes(damaged), 0)
        assert isinstance(opened, LogContent), position
        count = written.whole_before(position)
        assert opened.state.log_end == written.next_offsets[count], position
        assert written.left() == written.data[: written.ends[count]]


@pytest.mark.slow
def test_flip_below_the_recovery_point_is_never_cut(written: Written) -> None:
    point, end = written.next_offsets[3], written.ends[3]
    for position in range(len(written.data)):
        damaged = bytearray(written.data)
        damaged[position] ^= 0x10
        opened, _ = written.open(bytes(damaged), point)
        left = (written.directory / SEGMENT).read_bytes()
        if isinstance(opened, LogCorrupted):
            assert position < end
            assert left == bytes(damaged)
            assert (written.directory / CORRUPTION_FILE).exists()
        else:
            assert opened.state.log_end >= point
            assert left[:end] == bytes(damaged[:end])


@pytest.mark.slow
def test_cut_below_the_recovery_point_is_corruption(written: Written) -> None:
    point, end = written.next_offsets[3], written.ends[3]
    for size in range(end):
        opened, _ = written.open(written.data[:size], point)
        assert isinstance(opened, LogCorrupted), size
        assert (written.directory / SEGMENT).read_bytes() == written.data[:size]


@pytest.mark.slow
def test_without_a_checkpoint_every_byte_is_verified(written: Written) -> None:
    for position in range(len(written.data)):
        damaged = bytearray(written.data)
        damaged[position] ^= 0x10
        opened, _ = written.open(bytes(damaged), None)
        assert isinstance(opened, LogContent)
        assert opened.state.log_end == written.next_offsets[written.whole_before(position)]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.binary(max_size=300), st.integers(0, 4))
def test_garbage_behind_whole_batches_is_cut(written: Written, garbage: bytes, count: int) -> None:
    kept = written.data[: written.ends[count]]
    opened, _ = written.open(kept + b"\0" + garbage, 0)
    assert isinstance(opened, LogContent)
    assert opened.state.log_end == written.next_offsets[count]
    assert written.left() == kept


@pytest.mark.parametrize("data", [b"", b"\0" * 4_096, b"\xff" * 200])
def test_segment_of_nothing_is_an_empty_log(written: Written, data: bytes) -> None:
    opened, _ = written.open(data, 0)
    assert isinstance(opened, LogContent)
    assert (opened.state.log_end, written.left()) == (0, b"")


async def test_log_left_by_a_crash_goes_on_where_it_was(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
    async with context.opened() as table:
        partition = await context.leader(table)
        assert partition.high_watermark == 2
        await partition.append([make_batch(b"c")], acks=Acks.ALL)
        assert await values_of(partition) == [b"a", b"b", b"c"]
    assert [event.log_end for event in context.seen(LogRecovered)] == [2]


async def test_clean_stop_needs_no_recovery_and_keeps_its_epoch(context: StorageContext) -> None:
    context.config = LogConfig(segment_bytes=1_024, index_interval_bytes=100)
    values = [b"%d" % number * 100 for number in range(40)]
    async with context.opened() as table:
        partition = await context.leader(table)
        for value in values[:30]:
            await partition.append([make_batch(value)], acks=Acks.ALL)
        await table.close(broker_epoch=17)
    async with context.opened() as table:
        assert table.clean_shutdown_epoch == 17
        partition = await context.leader(table)
        for value in values[30:]:
            await partition.append([make_batch(value)], acks=Acks.ALL)
        assert await values_of(partition) == values
    assert context.seen(LogRecovered) == []
    assert context.seen(IndexRebuilt) == []
    async with context.opened() as table:
        assert table.clean_shutdown_epoch is None
        assert await values_of(await context.leader(table)) == values


@pytest.mark.parametrize("suffix", [".index", ".timeindex"])
@pytest.mark.parametrize("damage", ["missing", "flipped", "cut"])
async def test_indexes_are_rebuilt_whatever_happened_to_them(
    context: StorageContext, suffix: str, damage: str
) -> None:
    context.config = LogConfig(segment_bytes=1_024, index_interval_bytes=100)
    values = [b"%d" % number * 100 for number in range(40)]
    async with context.opened() as table:
        partition = await context.leader(table)
        for number, value in enumerate(values):
            batch = make_batch(value, time_ms=1_700_000_000_000 + number)
            await partition.append([batch], acks=Acks.ALL)
        await table.close(broker_epoch=1)
    await asyncio.to_thread(damage_files, context.paths[0] / "topic-0", suffix, damage)
    async with context.opened() as table:
        partition = await context.leader(table)
        assert await values_of(partition) == values
        found = await partition.offset_for_time(1_700_000_000_000 + 23)
        assert found is not None
        assert found.offset == 23
    assert context.seen(IndexRebuilt) != []


def damage_files(directory: Path, suffix: str, damage: str) -> None:
    found = list(directory.glob(f"*{suffix}"))
    assert len(found) > 3
    for path in found:
        data = bytearray(path.read_bytes())
        if damage == "missing":
            path.unlink()
        elif damage == "cut":
            path.write_bytes(data[:-1])
        else:
            data[-1] ^= 1
            path.write_bytes(data)


async def test_corrupt_log_is_kept_aside_and_the_broker_goes_on(context: StorageContext) -> None:
    async with context.opened() as table:
        for number in range(2):
            partition = await context.leader(table, number)
            await partition.append([make_batch(b"a"), make_batch(b"b")], acks=Acks.ALL)
        await context.clock.advance(5_000)
        await partition._log.surroundings.home.checkpoint()
    path = context.paths[0] / "topic-0" / SEGMENT
    data = await asyncio.to_thread(path.read_bytes)
    damaged = data[:3] + b"\xff" + data[4:]
    await asyncio.to_thread(path.write_bytes, damaged)
    for _ in range(2):
        async with context.opened() as table:
            with pytest.raises(CorruptLog):
                await context.leader(table, 0)
            corrupt = table.find("topic", 0)
            assert corrupt is not None
            assert isinstance(corrupt.error, CorruptLog)
            assert await values_of(await context.leader(table, 1)) == [b"a", b"b"]
            await context.clock.advance(5_000)
        assert await asyncio.to_thread(path.read_bytes) == damaged
    assert len(context.seen(LogCorrupted)) == 2
    await asyncio.to_thread(path.write_bytes, data)
    await asyncio.to_thread((path.parent / CORRUPTION_FILE).unlink)
    async with context.opened() as table:
        assert await values_of(await context.leader(table, 0)) == [b"a", b"b"]


async def test_damage_met_by_a_reader_takes_only_its_log_offline(context: StorageContext) -> None:
    async with context.opened() as table:
        partition, other = await context.leader(table, 0), await context.leader(table, 1)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        await partition.append([make_batch(b"b")], acks=Acks.ALL)
        path = context.paths[0] / "topic-0" / SEGMENT
        data = await asyncio.to_thread(path.read_bytes)
        await asyncio.to_thread(path.write_bytes, b"\xff" + data[1:])
        with pytest.raises(CorruptLog):
            await partition.read(0, max_bytes=1)
        with pytest.raises(CorruptLog):
            await partition.append([make_batch(b"c")], acks=Acks.LEADER)
        await other.append([make_batch(b"d")], acks=Acks.ALL)
        assert len(context.seen(LogCorrupted)) == 1


async def test_lost_epochs_are_read_from_the_batches(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        for epoch in (4, 9):
            partition.resign()
            await partition.become_leader(epoch)
            await partition.append([make_batch(b"a")], acks=Acks.ALL)
    await asyncio.to_thread((context.paths[0] / "topic-0" / "leader-epochs").write_bytes, b"{")
    async with context.opened() as table:
        log = table.partitions()[0]._log
        assert [(one.epoch, one.start_offset) for one in log.epochs.entries] == [(4, 0), (9, 1)]
    assert len(context.seen(EpochsRebuilt)) == 1


async def test_damaged_checkpoint_has_everything_verified(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a", b"b")], acks=Acks.ALL)
        await table.close(broker_epoch=3)
    await asyncio.to_thread((context.paths[0] / "checkpoint").write_bytes, b"\0\0")
    async with context.opened() as table:
        assert await values_of(await context.leader(table)) == [b"a", b"b"]
    assert len(context.seen(CheckpointDamaged)) == 1
    assert [event.verified_size > 0 for event in context.seen(LogRecovered)] == [True]


async def test_bytes_of_a_failed_flush_are_not_believed_after_a_restart(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"one")], acks=Acks.ALL)
        await partition._log.surroundings.home.checkpoint()
        context.filesystem.errors["datasync"] = errno.EIO
        with pytest.raises(OutcomeUnknown):
            await partition.append([make_batch(b"two")], acks=Acks.ALL)
        context.filesystem.errors.clear()
    async with context.opened() as table:  # the process alone is new: its page cache is not
        partition = await context.leader(table)
        assert await values_of(partition) == [b"one"]
        await partition.append([make_batch(b"three")], acks=Acks.ALL)
        await partition._log.surroundings.home.checkpoint()
        after = await context.crashed("after")
    async with after.opened() as table:
        assert await values_of(await after.leader(table)) == [b"one", b"three"]


async def test_new_directory_has_marks_from_the_first_moment(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
    async with context.opened() as table:
        assert context.seen(CheckpointDamaged) == []
        assert await values_of(await context.leader(table)) == [b"a"]


async def test_bytes_cut_without_marks_are_kept_aside(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        for number in range(5):
            await partition.append([make_batch(b"%d" % number * 50)], acks=Acks.ALL)
    path = context.paths[0] / "topic-0" / f"{0:020d}.log"
    data = bytearray(await asyncio.to_thread(path.read_bytes))
    data[-1] ^= 1
    await asyncio.to_thread(path.write_bytes, data)
    await asyncio.to_thread((context.paths[0] / "checkpoint").write_bytes, b"")
    for _ in range(2):
        async with context.opened() as table:
            assert (await context.leader(table)).log_end_offset == 4
    [cut] = context.seen(TailCut)
    kept = await asyncio.to_thread((path.parent / cut.kept_in).read_bytes)
    assert kept == data[len(data) - cut.lost_size :]
