"""The files of the operating system, as far as the storage needs them: a port and the real thing.

Everything the storage does to a disk goes through a `Filesystem`, so that tests can fill it, fail
it and pull its plug. Calls raise `OSError` as the system does. Which calls may be made on the
event loop: `pwritev`, `pread_cached`, `truncate`, `open` and `close`; all others wait for disks
and belong beside it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import resource
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

Bytes = bytes | bytearray | memoryview

_NOWAIT_UNKNOWN = frozenset({errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS})


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a directory."""

    name: str
    is_directory: bool
    size: int
    modified_ms: int


@dataclass(frozen=True, slots=True)
class Usage:
    """Bytes of the volume a path is on, and how many of them can still be written."""

    total: int
    usable: int


@dataclass(frozen=True, slots=True)
class Descriptors:
    """How many files this process may have open, and how many more than it has, at the least."""

    limit: int
    left: int

    @property
    def left_for_logs(self) -> int:
        """Logs keep one each, for long; connections, flushes and checkpoints need the rest."""
        return self.left - min(_DESCRIPTORS_KEPT_MAX, self.limit // 4)


class Filesystem(Protocol):
    """What the storage asks of the operating system."""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        """A descriptor for reading, or for both; `create` makes the file, which must not exist."""
        ...

    def close(self, fd: int) -> None: ...

    def size(self, fd: int) -> int: ...

    def pread(self, fd: int, size: int, position: int) -> bytes:
        """Up to `size` bytes; fewer only at the end of the file."""
        ...

    def pread_cached(self, fd: int, size: int, position: int) -> bytes:
        """As `pread`, but raises BlockingIOError instead of waiting for the disk."""
        ...

    def pwritev(self, fd: int, buffers: Sequence[Bytes], position: int) -> int:
        """Writes what it can and returns how many bytes that were."""
        ...

    def truncate(self, fd: int, size: int) -> None: ...

    def datasync(self, fd: int) -> None:
        """The file's bytes are durable once this returns."""
        ...

    def sync_directory(self, path: Path) -> None:
        """The names in a directory are durable once this returns."""
        ...

    def prefetch(self, fd: int, size: int, position: int) -> None:
        """Bring a range into memory, waiting for it."""
        ...

    def drop_cache(self, fd: int, position: int) -> None:
        """Read the file from `position` on from the disk, but for what is yet to be written."""
        ...

    def map(self, path: Path) -> memoryview:
        """A file's bytes, read as they are looked at."""
        ...

    def read_file(self, path: Path) -> bytes: ...

    def list(self, path: Path) -> list[Entry]:
        """What is in a directory, by name."""
        ...

    def exists(self, path: Path) -> bool: ...

    def rename(self, source: Path, target: Path) -> None:
        """Moves a file or directory; a file at `target` is replaced."""
        ...

    def link(self, path: Path, name: Path) -> None:
        """One more name for a file; there must be none of it yet."""
        ...

    def unlink(self, path: Path) -> None: ...

    def make_directory(self, path: Path) -> None:
        """Makes a directory and those above it; existing ones are fine."""
        ...

    def remove_directory(self, path: Path) -> None: ...

    def lock(self, path: Path) -> int:
        """Creates and locks a file until the descriptor is closed.

        Raises BlockingIOError if another process holds it.
        """
        ...

    def usage(self, path: Path) -> Usage: ...

    def descriptors(self) -> Descriptors: ...


class OsFilesystem:
    """The real one."""

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        flags = os.O_CLOEXEC | (os.O_RDWR if write or create else os.O_RDONLY)
        return os.open(path, flags | (os.O_CREAT | os.O_EXCL if create else 0), 0o644)

    def close(self, fd: int) -> None:
        os.close(fd)

    def size(self, fd: int) -> int:
        return os.fstat(fd).st_size

    def pread(self, fd: int, size: int, position: int) -> bytes:
        return os.pread(fd, size, position)

    def pread_cached(self, fd: int, size: int, position: int) -> bytes:
        buffer = bytearray(size)
        try:
            count = os.preadv(fd, [buffer], position, os.RWF_NOWAIT)
        except OSError as error:
            if error.errno in _NOWAIT_UNKNOWN:  # such a file system lives in memory
                return os.pread(fd, size, position)
            raise
        if count == size:
            return bytes(buffer)
        # Short: the end of the file, or the end of what is in memory.
        if position + count < os.fstat(fd).st_size:
            raise BlockingIOError(errno.EAGAIN, "not in memory")
        return bytes(buffer[:count])

    def pwritev(self, fd: int, buffers: Sequence[Bytes], position: int) -> int:
        return os.pwritev(fd, buffers, position)

    def truncate(self, fd: int, size: int) -> None:
        os.ftruncate(fd, size)

    def datasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def prefetch(self, fd: int, size: int, position: int) -> None:
        os.posix_fadvise(fd, position, size, os.POSIX_FADV_WILLNEED)
        end = position + size
        while position < end:
            count = len(os.pread(fd, min(1 << 20, end - position), position))
            if count == 0:
                return
            position += count

    def drop_cache(self, fd: int, position: int) -> None:
        os.posix_fadvise(fd, position, 0, os.POSIX_FADV_DONTNEED)

    def map(self, path: Path) -> memoryview:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if os.fstat(fd).st_size == 0:
                return memoryview(b"")
            return memoryview(mmap.mmap(fd, 0, access=mmap.ACCESS_READ))
        finally:
            os.close(fd)

    def read_file(self, path: Path) -> bytes:
        return path.read_bytes()

    def list(self, path: Path) -> list[Entry]:
        entries = []
        with os.scandir(path) as found:
            for entry in found:
                try:
                    facts = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # a file that was replaced or removed meanwhile
                    continue
                entries.append(
                    Entry(
                        name=entry.name,
                        is_directory=entry.is_dir(follow_symlinks=False),
                        size=facts.st_size,
                        modified_ms=facts.st_mtime_ns // 1_000_000,
                    )
                )
        return sorted(entries, key=lambda entry: entry.name)

    def exists(self, path: Path) -> bool:
        return path.exists()

    def rename(self, source: Path, target: Path) -> None:
        source.replace(target)

    def link(self, path: Path, name: Path) -> None:
        name.hardlink_to(path)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def make_directory(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)

    def remove_directory(self, path: Path) -> None:
        path.rmdir()

    def lock(self, path: Path) -> int:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(fd)
            raise
        return fd

    def usage(self, path: Path) -> Usage:
        facts = os.statvfs(path)
        return Usage(facts.f_frsize * facts.f_blocks, facts.f_frsize * facts.f_bavail)

    def descriptors(self) -> Descriptors:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if limit == resource.RLIM_INFINITY:
            limit = sys.maxsize
        try:
            lowest_free = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        except OSError as error:
            if not is_exhausted(error):
                raise
            return Descriptors(limit, 0)
        os.close(lowest_free)
        return Descriptors(limit, limit - lowest_free)


def replace_file(filesystem: Filesystem, path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put a whole file in the place of another: readers see the old one or the new one.

    Durable, it survives the plug being pulled from the moment this returns; otherwise whoever
    reads it must be able to tell that it is damaged.
    """
    temporary = path.with_name(path.name + TEMPORARY_SUFFIX)
    if filesystem.exists(temporary):
        filesystem.unlink(temporary)
    fd = filesystem.open(temporary, create=True)
    try:
        write_whole(filesystem, fd, [data], 0)
        if durable:
            filesystem.datasync(fd)
    finally:
        filesystem.close(fd)
    filesystem.rename(temporary, path)
    if durable:
        filesystem.sync_directory(path.parent)


def write_whole(filesystem: Filesystem, fd: int, buffers: Sequence[Bytes], position: int) -> None:
    """Write all buffers, one after the other, however many calls that takes. Raises OSError."""
    views = [memoryview(buffer) for buffer in buffers]
    while views:
        batch = views[:BUFFERS_MAX]
        wanted = sum(len(view) for view in batch)
        written = filesystem.pwritev(fd, batch, position)
        position += written
        if written == wanted:
            del views[:BUFFERS_MAX]
            continue
        if written == 0:
            raise OSError(errno.EIO, "a write wrote nothing")
        views = _rest(views, written)


def copy_to_new(
    filesystem: Filesystem, source: int, target: Path, *, position: int, size: int
) -> int:
    """Copy bytes of a file to a new one, a piece at a time, durably; if it fails, nothing is left.

    Returns the descriptor of the new file, whose name is yet to be made durable. Raises OSError.
    """
    fd = filesystem.open(target, create=True)
    try:
        copied = 0
        while copied < size:
            data = filesystem.pread(source, min(_COPY_SIZE, size - copied), position + copied)
            if not data:
                raise OSError(errno.EIO, f"the file ends at {position + copied}")
            write_whole(filesystem, fd, [data], copied)
            copied += len(data)
        filesystem.datasync(fd)
    except BaseException:
        filesystem.close(fd)
        filesystem.unlink(target)
        raise
    return fd


def _rest(views: list[memoryview], written: int) -> list[memoryview]:
    for number, view in enumerate(views):
        if written < len(view):
            return [view[written:], *views[number + 1 :]]
        written -= len(view)
    return []


TEMPORARY_SUFFIX = ".tmp"
_COPY_SIZE = 1 << 20
_DESCRIPTORS_KEPT_MAX = 1_024
BUFFERS_MAX = 1000  # below the 1024 that Linux takes in one call
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def is_full(error: OSError) -> bool:
    """Whether a write failed for want of room, and nothing else is wrong with the disk."""
    return error.errno in _FULL


_EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})


def is_exhausted(error: OSError) -> bool:
    """Whether a call failed for want of descriptors or memory: nothing is wrong with the disk."""
    return error.errno in _EXHAUSTED
