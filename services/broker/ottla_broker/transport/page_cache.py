"""Keeps cold file pages from stalling the event loop.

Sending a range that is not in the page cache would put the whole process to sleep in the
kernel. So each range is looked at first, with reads that fail rather than wait
(`RWF_NOWAIT`), one byte per stretch as long as the kernel's read-ahead; what is cold is read in
a thread, and sent afterwards. On file systems that do not know the flag every range goes
through the thread.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor

from ottla_broker.transport.stream import FileRange

_STRETCH_SIZE = 128 * 1024
_READ_SIZE = 256 * 1024
_THREADS = 4
_NOT_SUPPORTED = frozenset((errno.EOPNOTSUPP, errno.EINVAL, errno.ENOSYS))


class ColdPages(Exception):  # noqa: N818 - reads as the condition it is
    """A range that was to be read without waiting is not in the page cache."""

    def __init__(self, piece: FileRange) -> None:
        super().__init__(f"{piece.size} bytes at {piece.position}")
        self.piece = piece


class PageCache:
    """Owns the threads that read ahead; shared by the connections of a listener."""

    def __init__(self, executor: Executor | None = None) -> None:
        self._executor = executor or ThreadPoolExecutor(_THREADS, "ottla-read-ahead")
        self._probe = bytearray(1)
        self._pieces = [self._probe]

    def is_warm(self, piece: FileRange) -> bool:
        """Whether a range can be sent without waiting for a disk, as far as samples tell.

        A range past the end of the file counts as warm: sending finds out, and waits for nothing.
        A file that cannot be asked counts as cold: the thread that reads it says what is wrong.
        """
        last = piece.position + piece.size - 1
        try:
            descriptor = piece.file.fileno()
            for position in range(piece.position, last, _STRETCH_SIZE):
                os.preadv(descriptor, self._pieces, position, os.RWF_NOWAIT)
            os.preadv(descriptor, self._pieces, last, os.RWF_NOWAIT)
        except Exception:  # noqa: BLE001 - raised here, it would leak the files planned before it
            return False
        return True

    def read_ahead(self, piece: FileRange, done: Callable[[BaseException | None], None]) -> None:
        """Read a range in a thread, which then calls `done` with what went wrong, if anything.

        The file is acquired here and is `done`'s to release, in the thread that owns the file.
        """
        piece.file.acquire()

        def finished(future: Future[None]) -> None:
            done(future.exception())

        self._executor.submit(_read_through, piece).add_done_callback(finished)

    def close(self) -> None:
        """Let the threads end when they are idle."""
        self._executor.shutdown(wait=False)


def read_cached(piece: FileRange, buffer: memoryview) -> int:
    """Read the beginning of a range without waiting for a disk; 0 at the end of the file.

    Raises:
        ColdPages: it is not in the page cache.
        OSError: it cannot be read.
    """
    try:
        return os.preadv(piece.file.fileno(), [buffer], piece.position, os.RWF_NOWAIT)
    except BlockingIOError:
        raise ColdPages(piece) from None
    except OSError as error:
        if error.errno in _NOT_SUPPORTED:
            return _read_after_thread(piece, buffer)
        raise


def _read_after_thread(piece: FileRange, buffer: memoryview) -> int:
    # Where the kernel cannot tell, a thread has read the range a moment ago: see `is_warm`.
    return os.preadv(piece.file.fileno(), [buffer], piece.position)


def _read_through(piece: FileRange) -> None:
    buffer = bytearray(min(_READ_SIZE, piece.size))
    position, end = piece.position, piece.position + piece.size
    descriptor = piece.file.fileno()
    while position < end:
        count = os.preadv(descriptor, [buffer], position)
        if not count:
            return
        position += count
