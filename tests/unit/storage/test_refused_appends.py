"""Appends that cannot be, or fail in the middle: the log is as before, or says it does not know."""

from __future__ import annotations

import errno
from collections.abc import Sequence

import pytest

from kit.batches import make_batch
from kit.faulty_filesystem import FaultyFilesystem
from kit.storage import StorageContext, values_of
from ottla.protocol.batch import Batch, encode_batch, read_batch
from ottla.protocol.compression import Codec
from ottla.protocol.errors import OutcomeUnknown, RecordTooLarge, StorageOffline
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_events import TailCut
from ottla_broker.core.sparse_index import IndexBuilder
from ottla_broker.storage.filesystem import Bytes


def claiming(record_count: int) -> Batch:
    """A compressed batch that says it holds so many records."""
    frame = encode_batch(
        b"x" * 200,
        codec=Codec.ZSTD,
        record_count=record_count,
        last_offset_delta=record_count - 1,
        base_timestamp_ms=1_700_000_000_000,
        max_timestamp_ms=1_700_000_000_000,
    )
    return read_batch(memoryview(bytes(frame)))


async def test_append_with_more_offsets_than_a_segment_has_changes_nothing(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        with pytest.raises(RecordTooLarge):
            await partition.append([claiming(1_000_000)] * 2_148, acks=Acks.ALL)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
    async with context.opened() as table:
        partition = await context.leader(table)
        assert await values_of(partition) == [b"a"]
        assert context.seen(TailCut) == []


async def test_append_that_fails_after_its_write_is_cut_back_and_fails_the_log(
    context: StorageContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def overflowing(*_: object, **__: object) -> None:
        raise OverflowError("unsigned int is greater than maximum")

    async with context.opened() as table:
        partition = await context.leader(table)
        await partition.append([make_batch(b"a")], acks=Acks.ALL)
        with monkeypatch.context() as patched:
            patched.setattr(IndexBuilder, "add", overflowing)
            with pytest.raises(OverflowError):
                await partition.append([make_batch(b"b")], acks=Acks.ALL)
        with pytest.raises(StorageOffline):
            await partition.append([make_batch(b"c")], acks=Acks.ALL)
    async with context.opened() as table:
        partition = await context.leader(table)
        assert await values_of(partition) == [b"a"]
        assert context.seen(TailCut) == []


class FailsInTheMiddle(FaultyFilesystem):
    """Takes `size_left` bytes more, then the disk fails."""

    size_left: int | None = None

    def pwritev(self, fd: int, buffers: Sequence[Bytes], position: int) -> int:
        if self.size_left is None:
            return super().pwritev(fd, buffers, position)
        if self.size_left == 0:
            raise OSError(errno.EIO, "the disk failed")
        data = b"".join(buffers)[: self.size_left]
        self.size_left = 0
        return super().pwritev(fd, [data], position)


async def test_disk_failing_in_the_second_batch_leaves_the_outcome_unknown(
    context: StorageContext,
) -> None:
    filesystem = context.filesystem = FailsInTheMiddle()
    first, second = make_batch(b"a"), make_batch(b"b")
    async with context.opened() as table:
        partition = await context.leader(table)
        filesystem.size_left = first.frame_size + 10
        with pytest.raises(OutcomeUnknown):
            await partition.append([first, second], acks=Acks.ALL)
        filesystem.size_left = None
    async with context.opened() as table:
        assert await values_of(await context.leader(table)) == [b"a"]


async def test_append_after_closing_is_refused(context: StorageContext) -> None:
    async with context.opened() as table:
        partition = await context.leader(table)
        await table.close(broker_epoch=1)
        with pytest.raises(StorageOffline):
            await partition.become_leader(5)
