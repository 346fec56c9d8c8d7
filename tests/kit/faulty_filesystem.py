"""A `Filesystem` that can be filled, failed and have its plug pulled.

Works on real files through another file system. Flushes are noted instead of made: `crash` writes
what a disk would hold that lost every byte and every name not flushed, and perhaps part of the
rest. Used from several threads, as the real one.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ottla_broker.storage.filesystem import Bytes, Descriptors, Entry, OsFilesystem, Usage

Torn = Callable[[bytes, bytes], bytes]
"""`torn(durable, current)`: what the disk holds of a file after the plug was pulled."""


def only_durable(durable: bytes, current: bytes) -> bytes:
    """The disk holds what was flushed, nothing else."""
    return durable


class FaultyFilesystem:
    """Faults are set on the object and last until they are unset.

    `room` is how many bytes can still be written; `errors` maps the name of a method to the errno
    that its calls fail with; `write_size_max` makes every write short.
    """

    def __init__(self) -> None:
        self._real = OsFilesystem()
        self._guard = threading.RLock()
        self.room: int | None = None
        self.errors: dict[str, int] = {}
        self.failing_under: Path | None = None
        self.write_size_max: int | None = None
        self.is_cold = False
        self.descriptors_left: Descriptors | None = None
        self.calls: list[str] = []
        self._open: dict[int, Path] = {}
        self._ids: dict[int, int] = {}
        self._last_id = 0
        self._lost: list[tuple[int, int, int]] = []
        self._durable: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}

    @property
    def open_paths(self) -> list[Path]:
        """Files that somebody has open."""
        with self._guard:
            return sorted(self._open.values())

    # -- the port ----------------------------------------------------------------------------

    def open(self, path: Path, *, write: bool = False, create: bool = False) -> int:
        self._check("create" if create else "open", path)
        fd = self._real.open(path, write=write, create=create)
        with self._guard:
            self._open[fd] = path
            if create:
                self._new_id(os.fstat(fd).st_ino)
        return fd

    def close(self, fd: int) -> None:
        with self._guard:
            self._open.pop(fd, None)
        self._real.close(fd)

    def size(self, fd: int) -> int:
        return self._real.size(fd)

    def pread(self, fd: int, size: int, position: int) -> bytes:
        self._check("pread", self._open[fd])
        return self._real.pread(fd, size, position)

    def pread_cached(self, fd: int, size: int, position: int) -> bytes:
        self._check("pread", self._open[fd])
        if self.is_cold:
            raise BlockingIOError(errno.EAGAIN, "not in memory")
        return self._real.pread_cached(fd, size, position)

    def pwritev(self, fd: int, buffers: Sequence[Bytes], position: int) -> int:
        self._check("pwritev", self._open[fd])
        data = b"".join(buffers)
        if self.write_size_max is not None:
            data = data[: self.write_size_max]
        grows = max(0, position + len(data) - self._real.size(fd))
        if self.room is not None and grows > self.room:
            data = data[: len(data) - (grows - self.room)]
            grows = self.room
            if not data:
                raise OSError(errno.ENOSPC, "No space left on device")
        written = self._real.pwritev(fd, [data], position)
        if self.room is not None:
            self.room -= grows
        return written

    def truncate(self, fd: int, size: int) -> None:
        self._check("truncate", self._open[fd])
        if self.room is not None:
            self.room += max(0, self._real.size(fd) - size)
        with self._guard:
            one = self._id(os.fstat(fd).st_ino)
            self._lost = [
                (other, start, min(end, size) if other == one else end)
                for other, start, end in self._lost
            ]
        self._real.truncate(fd, size)

    def datasync(self, fd: int) -> None:
        """As Linux: pages whose flush failed are clean after it, and no later one writes them."""
        with self._guard:
            facts = os.fstat(fd)
            one = self._id(facts.st_ino)
            try:
                self._check("datasync", self._open[fd])
            except OSError:
                self._lost.append((one, len(self._durable.get(one, b"")), facts.st_size))
                raise
            self._durable[one] = self._on_disk(one, os.pread(fd, facts.st_size, 0))

    def drop_cache(self, fd: int, position: int) -> None:
        with self._guard:
            size = os.fstat(fd).st_size
            data = self._on_disk(self._id(os.fstat(fd).st_ino), os.pread(fd, size, 0))
            writable = os.open(self._open[fd], os.O_WRONLY)
            os.pwrite(writable, data[position:], position)
            os.close(writable)

    def _on_disk(self, one: int, cached: bytes) -> bytes:
        """What the disk has of a file whose pages are these, once all dirty ones are written."""
        data = bytearray(cached)
        for other, start, end in self._lost:
            if other == one:
                data[start:end] = bytes(len(data[start:end]))
        return bytes(data)

    def sync_directory(self, path: Path) -> None:
        self._check("sync_directory", path)
        with self._guard:
            self._names[self._id(path.stat().st_ino)] = {
                entry.name: (self._id(entry.inode()), entry.is_dir(follow_symlinks=False))
                for entry in os.scandir(path)
            }

    def prefetch(self, fd: int, size: int, position: int) -> None:
        self._check("pread", self._open[fd])

    def map(self, path: Path) -> memoryview:
        self._check("pread", path)
        return self._real.map(path)

    def read_file(self, path: Path) -> bytes:
        self._check("pread", path)
        return self._real.read_file(path)

    def list(self, path: Path) -> list[Entry]:
        self._check("list", path)
        return self._real.list(path)

    def exists(self, path: Path) -> bool:
        return self._real.exists(path)

    def rename(self, source: Path, target: Path) -> None:
        self._check("rename", source)
        self._real.rename(source, target)

    def link(self, path: Path, name: Path) -> None:
        self._check("link", path)
        self._real.link(path, name)

    def unlink(self, path: Path) -> None:
        self._check("unlink", path)
        self._real.unlink(path)

    def make_directory(self, path: Path) -> None:
        self._check("make_directory", path)
        is_new = not path.exists()
        self._real.make_directory(path)
        if is_new:
            with self._guard:
                self._new_id(path.stat().st_ino)

    def remove_directory(self, path: Path) -> None:
        self._check("unlink", path)
        self._real.remove_directory(path)

    def lock(self, path: Path) -> int:
        return self._real.lock(path)

    def usage(self, path: Path) -> Usage:
        return self._real.usage(path)

    def descriptors(self) -> Descriptors:
        return self.descriptors_left or self._real.descriptors()

    # -- the plug ----------------------------------------------------------------------------

    def crash(self, root: Path, target: Path, *, torn: Torn = only_durable) -> None:
        """Write to `target` what the disk would hold of `root` had the plug been pulled now."""
        with self._guard:
            contents = self._contents(root)
            target.mkdir()
            self._restore(self._id(root.stat().st_ino), target, contents, torn)

    def settle(self, root: Path) -> None:
        """Everything under `root` is durable, as on a disk that was found so."""
        with self._guard:
            for path in (root, *root.rglob("*")):
                if path.is_dir():
                    self.sync_directory(path)
                else:
                    self._durable[self._id(path.stat().st_ino)] = path.read_bytes()

    def _restore(
        self, directory_id: int, target: Path, contents: dict[int, bytes], torn: Torn
    ) -> None:
        for name, (one, is_directory) in self._names.get(directory_id, {}).items():
            if is_directory:
                (target / name).mkdir()
                self._restore(one, target / name, contents, torn)
            else:
                durable = self._durable.get(one, b"")
                (target / name).write_bytes(torn(durable, contents.get(one, durable)))

    def _contents(self, root: Path) -> dict[int, bytes]:
        return {
            self._id(path.stat().st_ino): path.read_bytes()
            for path in root.rglob("*")
            if path.is_file()
        }

    def _check(self, operation: str, path: Path) -> None:
        self.calls.append(operation)
        is_near = self.failing_under is None or path.is_relative_to(self.failing_under)
        if operation in self.errors and is_near:
            number = self.errors[operation]
            raise OSError(number, os.strerror(number), str(path))

    def _id(self, inode: int) -> int:
        return self._ids[inode] if inode in self._ids else self._new_id(inode)

    def _new_id(self, inode: int) -> int:
        """Inode numbers are used again; the file of a new one is another file."""
        self._last_id += 1
        self._ids[inode] = self._last_id
        return self._last_id
