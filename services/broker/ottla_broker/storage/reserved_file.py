"""Replaces a file whole and durably in room that was kept for it, so that a full disk is no matter.

    path          what is read                     path.spare     as large, overwritten next

    spare overwritten, flushed ─► path also called path.old ─► spare takes the path's name
                               ─► path.old becomes the spare ─► names flushed

At no moment is the file that is read written to. A document in it is followed by blank lines up to
the room it has; one that outgrows it needs room on the disk, once for each of the two. Where a file
system copies on write or has no second names, nothing is promised of a full disk.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Final

from ottla_broker.storage.filesystem import Filesystem, is_full, write_whole

SPARE_SUFFIX: Final = ".spare"
OLD_SUFFIX: Final = ".old"
ROOM_UNIT: Final = 16 * 1024

_BLANK: Final = b"\n"
_NO_SECOND_NAMES: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})


def replace_in_reserved_room(filesystem: Filesystem, path: Path, document: bytes) -> None:
    """Put `document` in the place of a file; durable when this returns. Raises OSError."""
    spare, old = _beside(path, SPARE_SUFFIX), _beside(path, OLD_SUFFIX)
    if filesystem.exists(old):
        filesystem.unlink(old)
    fd = filesystem.open(spare, write=True, create=not filesystem.exists(spare))
    try:
        room = filesystem.size(fd)
        if len(document) > room:
            room = _room_for(document)
        write_whole(filesystem, fd, [document.ljust(room, _BLANK)], 0)
        filesystem.datasync(fd)
    finally:
        filesystem.close(fd)
    _exchange(filesystem, path, spare=spare, old=old)
    _sync_names(filesystem, path.parent, spare)
    _reserve(filesystem, spare, room)


def reserve_room(filesystem: Filesystem, path: Path) -> None:
    """See, before a process writes the file for the first time, to its spare. Raises OSError."""
    spare, old = _beside(path, SPARE_SUFFIX), _beside(path, OLD_SUFFIX)
    if filesystem.exists(old):
        filesystem.unlink(old)
    _sync_names(filesystem, path.parent, spare)
    room = ROOM_UNIT
    if filesystem.exists(path):
        fd = filesystem.open(path)
        room = max(room, filesystem.size(fd))
        filesystem.close(fd)
    _reserve(filesystem, spare, room)


def _sync_names(filesystem: Filesystem, directory: Path, spare: Path) -> None:
    """Until the names are durable, the disk may know the spare as the file that is read."""
    try:
        filesystem.sync_directory(directory)
    except OSError:
        if filesystem.exists(spare):
            filesystem.unlink(spare)
        raise


def _exchange(filesystem: Filesystem, path: Path, *, spare: Path, old: Path) -> None:
    has_old = filesystem.exists(path)
    if has_old:
        try:
            filesystem.link(path, old)
        except OSError as error:
            if error.errno not in _NO_SECOND_NAMES and not is_full(error):
                raise
            has_old = False
    filesystem.rename(spare, path)
    if has_old:
        filesystem.rename(old, spare)


def _reserve(filesystem: Filesystem, spare: Path, room: int) -> None:
    """Make the spare as large as `room`, as far as the disk has room for that."""
    try:
        fd = filesystem.open(spare, write=True, create=not filesystem.exists(spare))
        try:
            size = filesystem.size(fd)
            if size < room:
                write_whole(filesystem, fd, [_BLANK * (room - size)], size)
        finally:
            filesystem.close(fd)
    except OSError as error:
        if not is_full(error):
            raise


def _room_for(document: bytes) -> int:
    """Twice what is needed now, in units: a document grows with the number of logs."""
    return -(-2 * len(document) // ROOM_UNIT) * ROOM_UNIT


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
