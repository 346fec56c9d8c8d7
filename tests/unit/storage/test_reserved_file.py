"""A file replaced in room that is kept for it: whole at every moment, also on a full disk."""

from __future__ import annotations

import errno
from itertools import product
from pathlib import Path

import pytest

from kit.faulty_filesystem import FaultyFilesystem, Torn, only_durable
from ottla_broker.storage.reserved_file import (
    ROOM_UNIT,
    replace_in_reserved_room,
    reserve_room,
)

NAME = "checkpoint"


class PowerLost(BaseException):
    """The plug was pulled."""


class LosesPower(FaultyFilesystem):
    """Whatever is done after `left` more calls that change something finds no power."""

    left: int | None = None

    def _check(self, operation: str, path: Path) -> None:
        if operation in {"create", "pwritev", "datasync", "link", "rename", "unlink",
                         "sync_directory"} and self.left is not None:  # fmt: skip
            if self.left == 0:
                raise PowerLost
            self.left -= 1
        super()._check(operation, path)


def document(number: int) -> bytes:
    """Documents of one size, each unlike the others at every byte."""
    return b"%d" % (number % 10) * 3_000


def read(directory: Path) -> bytes:
    return (directory / NAME).read_bytes().rstrip(b"\n")


def begun(directory: Path) -> LosesPower:
    """A directory with two documents written."""
    filesystem = LosesPower()
    directory.mkdir()
    for number in range(2):
        replace_in_reserved_room(filesystem, directory / NAME, document(number))
    return filesystem


def write_until_power_is_lost(filesystem: LosesPower, directory: Path, *, left: int) -> int | None:
    """Three more documents; the last that was written, None if power lasted for them all."""
    filesystem.left, written = left, 1
    try:
        for number in range(2, 5):
            replace_in_reserved_room(filesystem, directory / NAME, document(number))
            written = number
    except PowerLost:
        filesystem.left = None
        return written
    return None


def torn(durable: bytes, current: bytes) -> bytes:
    """Of what was not flushed, a third of a document has come to the disk."""
    return current[:1_000] + durable[1_000:]


@pytest.mark.parametrize("tear", [only_durable, torn])
def test_power_lost_at_any_step_leaves_the_old_document_or_the_new_one(
    tmp_path: Path, tear: Torn
) -> None:
    for left in range(100):
        directory, target = tmp_path / f"run-{left}", tmp_path / f"after-{left}"
        filesystem = begun(directory)
        written = write_until_power_is_lost(filesystem, directory, left=left)
        if written is None:
            break
        filesystem.crash(directory, target, torn=tear)
        assert read(target) in {document(written), document(written + 1)}
        again = FaultyFilesystem()  # the next process goes on with what it finds
        again.settle(target)
        reserve_room(again, target / NAME)
        replace_in_reserved_room(again, target / NAME, document(7))
        again.crash(target, tmp_path / f"again-{left}", torn=tear)
        assert read(tmp_path / f"again-{left}") == document(7)
    assert 15 < left < 99


@pytest.mark.slow
@pytest.mark.parametrize("tear", [only_durable, torn])
def test_process_killed_at_any_step_and_power_lost_at_any_later_one_leave_a_whole_document(
    tmp_path: Path, tear: Torn
) -> None:
    crash_count = 0
    for left, later in product(range(25), range(12)):
        directory, target = tmp_path / f"run-{left}-{later}", tmp_path / f"after-{left}-{later}"
        filesystem = begun(directory)
        written = write_until_power_is_lost(filesystem, directory, left=left)
        if written is None:
            break
        filesystem.left = later  # the process alone was gone: the page cache is as it was
        try:
            reserve_room(filesystem, directory / NAME)
            replace_in_reserved_room(filesystem, directory / NAME, document(written + 2))
        except PowerLost:
            filesystem.left = None
            filesystem.crash(directory, target, torn=tear)
            assert read(target) in {document(written + number) for number in range(3)}
            crash_count += 1
    assert crash_count > 100


def test_full_disk_does_not_refuse_a_document_of_the_same_size(tmp_path: Path) -> None:
    filesystem = FaultyFilesystem()
    replace_in_reserved_room(filesystem, tmp_path / NAME, document(0))
    filesystem.room = 0
    for number in range(1, 9):
        replace_in_reserved_room(filesystem, tmp_path / NAME, document(number) * 2)
        assert read(tmp_path) == document(number) * 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [NAME, f"{NAME}.spare"]


def test_document_that_outgrows_its_room_on_a_full_disk_is_refused_and_the_old_one_stays(
    tmp_path: Path,
) -> None:
    filesystem = FaultyFilesystem()
    replace_in_reserved_room(filesystem, tmp_path / NAME, document(0))
    filesystem.room = 100
    for _ in range(2):
        with pytest.raises(OSError, match="No space left"):
            replace_in_reserved_room(filesystem, tmp_path / NAME, document(1) * 9)
        assert read(tmp_path) == document(0)
    replace_in_reserved_room(filesystem, tmp_path / NAME, document(2))
    assert read(tmp_path) == document(2)
    filesystem.room = None
    replace_in_reserved_room(filesystem, tmp_path / NAME, document(1) * 9)
    filesystem.room = 0
    replace_in_reserved_room(filesystem, tmp_path / NAME, document(3) * 9)
    assert read(tmp_path) == document(3) * 9


@pytest.mark.parametrize("number", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSPC])
def test_file_system_without_second_names_will_do(tmp_path: Path, number: int) -> None:
    filesystem = FaultyFilesystem()
    filesystem.errors["link"] = number
    for one in range(4):
        replace_in_reserved_room(filesystem, tmp_path / NAME, document(one))
        assert read(tmp_path) == document(one)


def test_names_that_could_not_be_flushed_cost_the_spare(tmp_path: Path) -> None:
    """The disk may still know it as the file that is read: it must not be written to."""
    filesystem = FaultyFilesystem()
    directory = tmp_path / "d"
    directory.mkdir()
    for one in range(2):
        replace_in_reserved_room(filesystem, directory / NAME, document(one))
    filesystem.errors["sync_directory"] = errno.ENOSPC
    with pytest.raises(OSError, match="No space left"):
        replace_in_reserved_room(filesystem, directory / NAME, document(2))
    with pytest.raises(OSError, match="No space left"):
        replace_in_reserved_room(filesystem, directory / NAME, document(3))
    filesystem.crash(directory, tmp_path / "after", torn=torn)
    assert read(tmp_path / "after") == document(1)


def test_room_is_reserved_where_a_start_finds_none(tmp_path: Path) -> None:
    filesystem = FaultyFilesystem()
    (tmp_path / NAME).write_bytes(b"x" * (ROOM_UNIT + 1))
    (tmp_path / f"{NAME}.old").write_bytes(b"y")
    filesystem.room = 0
    reserve_room(filesystem, tmp_path / NAME)
    filesystem.room = None
    reserve_room(filesystem, tmp_path / NAME)
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert sizes == {NAME: ROOM_UNIT + 1, f"{NAME}.spare": ROOM_UNIT + 1}
