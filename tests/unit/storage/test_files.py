"""The file system port, real and faulty alike, and descriptors that outlive their names."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Iterator
from pathlib import Path

import pytest

from kit.faulty_filesystem import FaultyFilesystem
from kit.offloads import HeldOffload
from ottla_broker.storage.beside import beside
from ottla_broker.storage.filesystem import (
    Descriptors,
    Filesystem,
    OsFilesystem,
    replace_file,
    write_whole,
)
from ottla_broker.storage.ports import Offload, ThreadOffload
from ottla_broker.storage.segment_file import SegmentFile


@pytest.fixture(params=[OsFilesystem, FaultyFilesystem])
def filesystem(request: pytest.FixtureRequest) -> Filesystem:
    made: Filesystem = request.param()
    return made


def test_written_bytes_are_read_back(filesystem: Filesystem, tmp_path: Path) -> None:
    fd = filesystem.open(tmp_path / "file", create=True)
    write_whole(filesystem, fd, [b"abc", bytearray(b"def"), memoryview(b"ghi")], 0)
    write_whole(filesystem, fd, [b"X"], 4)
    assert filesystem.size(fd) == 9
    assert filesystem.pread(fd, 5, 2) == b"cdXfg"
    assert filesystem.pread(fd, 50, 7) == b"hi"
    assert filesystem.pread_cached(fd, 50, 7) == b"hi"
    filesystem.prefetch(fd, 9, 0)
    filesystem.truncate(fd, 3)
    filesystem.datasync(fd)
    assert filesystem.pread(fd, 50, 0) == b"abc"
    filesystem.close(fd)
    assert filesystem.read_file(tmp_path / "file") == b"abc"
    assert bytes(filesystem.map(tmp_path / "file")) == b"abc"


def test_open_files_are_counted(filesystem: Filesystem, tmp_path: Path) -> None:
    before = filesystem.descriptors()
    opened = [filesystem.open(tmp_path / str(number), create=True) for number in range(20)]
    after = filesystem.descriptors()
    assert after.limit == before.limit > before.left
    assert after.left <= before.left - 20
    for fd in opened:
        filesystem.close(fd)


def test_a_quarter_of_a_small_limit_and_a_thousand_of_a_large_one_are_not_for_logs() -> None:
    assert Descriptors(limit=1_000, left=900).left_for_logs == 650
    assert Descriptors(limit=1_000_000, left=5_000).left_for_logs == 3_976
    assert Descriptors(limit=1_000, left=0).left_for_logs < 0


def test_more_buffers_than_one_call_takes_are_written(
    filesystem: Filesystem, tmp_path: Path
) -> None:
    fd = filesystem.open(tmp_path / "file", create=True)
    buffers = [b"%04d" % number for number in range(2_500)]
    write_whole(filesystem, fd, buffers, 0)
    assert filesystem.pread(fd, 20_000, 0) == b"".join(buffers)
    filesystem.close(fd)


def test_file_is_created_once(filesystem: Filesystem, tmp_path: Path) -> None:
    filesystem.close(filesystem.open(tmp_path / "file", create=True))
    with pytest.raises(FileExistsError):
        filesystem.open(tmp_path / "file", create=True)
    fd = filesystem.open(tmp_path / "file")
    with pytest.raises(OSError, match="Bad file descriptor"):
        filesystem.pwritev(fd, [b"x"], 0)
    filesystem.close(fd)


def test_names_come_and_go(filesystem: Filesystem, tmp_path: Path) -> None:
    filesystem.make_directory(tmp_path / "a" / "b")
    filesystem.make_directory(tmp_path / "a" / "b")
    filesystem.close(filesystem.open(tmp_path / "a" / "file", create=True))
    filesystem.sync_directory(tmp_path / "a")
    entries = filesystem.list(tmp_path / "a")
    assert [(entry.name, entry.is_directory, entry.size) for entry in entries] == [
        ("b", True, entries[0].size),
        ("file", False, 0),
    ]
    filesystem.rename(tmp_path / "a" / "file", tmp_path / "a" / "other")
    assert filesystem.exists(tmp_path / "a" / "other")
    filesystem.unlink(tmp_path / "a" / "other")
    filesystem.remove_directory(tmp_path / "a" / "b")
    assert filesystem.list(tmp_path / "a") == []
    assert filesystem.usage(tmp_path).total >= filesystem.usage(tmp_path).usable > 0


def test_lock_is_held_once(filesystem: Filesystem, tmp_path: Path) -> None:
    fd = filesystem.lock(tmp_path / "lock")
    with pytest.raises(BlockingIOError):
        filesystem.lock(tmp_path / "lock")
    filesystem.close(fd)
    filesystem.close(filesystem.lock(tmp_path / "lock"))


def test_replaced_file_is_the_old_or_the_new_one(tmp_path: Path) -> None:
    filesystem = FaultyFilesystem()
    path = tmp_path / "document"
    replace_file(filesystem, path, b"old")
    for operation in ("create", "pwritev", "datasync", "rename"):
        filesystem.errors = {operation: errno.EIO}
        with pytest.raises(OSError, match="Input/output error"):
            replace_file(filesystem, path, b"new")
        assert path.read_bytes() == b"old"
    filesystem.errors = {}
    replace_file(filesystem, path, b"new")
    assert path.read_bytes() == b"new"
    assert [one.name for one in tmp_path.iterdir()] == ["document"]


def test_pulled_plug_leaves_what_was_flushed(tmp_path: Path) -> None:
    filesystem, root = FaultyFilesystem(), tmp_path / "root"
    filesystem.make_directory(root)
    kept = filesystem.open(root / "kept", create=True)
    filesystem.pwritev(kept, [b"abc"], 0)
    filesystem.datasync(kept)
    filesystem.pwritev(kept, [b"def"], 3)
    filesystem.sync_directory(root)
    lost = filesystem.open(root / "lost", create=True)
    filesystem.pwritev(lost, [b"x"], 0)
    filesystem.datasync(lost)
    filesystem.unlink(root / "kept")
    filesystem.crash(root, tmp_path / "after")
    assert {path.name: path.read_bytes() for path in (tmp_path / "after").iterdir()} == {
        "kept": b"abc"
    }
    filesystem.close(kept)
    filesystem.close(lost)


def test_held_file_is_readable_after_it_was_unlinked(tmp_path: Path) -> None:
    filesystem = OsFilesystem()
    fd = filesystem.open(tmp_path / "file", create=True)
    filesystem.pwritev(fd, [b"abc"], 0)
    file = SegmentFile(fd, filesystem=filesystem)
    file.acquire()
    filesystem.unlink(tmp_path / "file")
    file.release()
    assert filesystem.pread(file.fileno(), 3, 0) == b"abc"
    file.release()
    assert not file.is_open
    for use in (file.fileno, file.acquire, file.release):
        with pytest.raises(AssertionError):
            use()


@pytest.fixture(params=["threads", "held"])
def offload(request: pytest.FixtureRequest) -> Iterator[Offload]:
    threads = ThreadOffload(name="test", threads_max=2)
    yield HeldOffload() if request.param == "held" else threads
    threads.close()


async def test_offloaded_work_gives_its_result_or_its_error(offload: Offload) -> None:
    assert await offload.run(lambda: 7) == 7

    def fail() -> None:
        raise OSError(errno.EIO, "no")

    with pytest.raises(OSError, match="no"):
        await offload.run(fail)


async def test_file_is_held_until_the_work_has_ended_even_if_nobody_waits(tmp_path: Path) -> None:
    filesystem, offload = OsFilesystem(), HeldOffload()
    offload.holds = True
    fd = await asyncio.to_thread(filesystem.open, tmp_path / "file", create=True)
    file = SegmentFile(fd, filesystem=filesystem)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(
            beside(offload, lambda: filesystem.size(file.fileno()), files=(file,)), name="beside"
        )
        await offload.held(1)
        file.release()
        waiting.cancel()
        await asyncio.sleep(0)
        assert file.is_open
        await offload.release()
        await asyncio.sleep(0)
    assert not file.is_open
