"""Writes what the HTTP/2 core has to say: the only code that sends on a connection's socket.

The core's output is taken a portion at a time and written in order and whole before the next
portion is asked for; so a frame whose header is out is always completed, control frames wait
for one portion at most, and the memory of a client that does not read stays at one portion.

Large file ranges follow their header (held back with MSG_MORE) by `sendfile`. Small ones are
read into one buffer that all connections share and leave with their headers in one gathered
write; nothing of that buffer is kept: what the socket did not take is read again later.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from ottla_broker.transport.byte_ports import PIECES_MAX, BytePort, TruncatedFile
from ottla_broker.transport.page_cache import ColdPages, read_cached
from ottla_broker.transport.stream import FileOwner, FileRange, Part

# From here on a system call of its own is cheaper than a copy.
SENDFILE_SIZE_MIN = 32 * 1024
_GATHERED_SIZE_MAX = 256 * 1024
# How much DATA the core plans at once, and how much is written before others get their turn.
_PORTION_SIZE = 1 << 20
_TURN_SIZE = 4 << 20

TakeOutput = Callable[[int], list[Part]]
WarmthProbe = Callable[[FileRange], bool]


class WriteBuffer:
    """The buffer small file ranges pass through; one per event loop, never kept over a call."""

    def __init__(self) -> None:
        self.view = memoryview(bytearray(_GATHERED_SIZE_MAX))


class Writer:
    """Owns the output that is taken from the core and not yet in the socket."""

    def __init__(
        self,
        port: BytePort,
        take_output: TakeOutput,
        *,
        probe: WarmthProbe,
        buffer: WriteBuffer,
    ) -> None:
        self._port = port
        self._take_output = take_output
        self._probe = probe
        # The core has planned warm ranges only; after a wait they may have become cold again.
        self._waited = False
        self._buffer = buffer.view
        self._pending: deque[Part] = deque()
        self.written_size = 0

    @property
    def busy(self) -> bool:
        """Some output is neither dropped nor in the socket."""
        return bool(self._pending)

    def write(self) -> bool:
        """Write until there is nothing to say; False when the turn is over before that.

        Raises:
            BlockingIOError: the socket is full; call again when it is writable.
            ColdPages: a range left the page cache; call again when it is read, `warmed` first.
            TruncatedFile: a promised range is not in its file; the connection cannot go on.
            OSError: the connection is gone, or a file cannot be read.
        """
        pending = self._pending
        turn_end = self.written_size + _TURN_SIZE
        while True:
            if not pending:
                if self.written_size >= turn_end:
                    return False
                pending.extend(self._take_output(_PORTION_SIZE))
                if not pending:
                    return True
            head = pending[0]
            try:
                if type(head) is FileRange and self._by_kernel(head):
                    if self._waited and not self._probe(head):
                        raise ColdPages(head)
                    self._sent(self._port.send_file(head))
                else:
                    self._send_gathered()
            except BlockingIOError:
                self._waited = True
                raise
            self._waited = False

    def warmed(self) -> None:
        """The range that was cold has been read."""
        self._waited = False

    def drop(self) -> None:
        """The connection is gone: let go of the files."""
        for part in self._pending:
            if type(part) is FileRange:
                part.file.release()
        self._pending.clear()

    def _by_kernel(self, part: FileRange) -> bool:
        return part.size >= SENDFILE_SIZE_MIN and self._port.sends_files

    def _send_gathered(self) -> None:
        """One gathered write of everything up to the next large range."""
        pieces: list[bytes | memoryview] = []
        reads = _FileReads(self._buffer)
        size = 0
        more = False
        for part in self._pending:
            if type(part) is FileRange:
                if self._by_kernel(part):
                    more = True
                    break
                room = _GATHERED_SIZE_MAX - reads.size
                if not room:
                    break
                piece = reads.add(part, min(part.size, room))
                pieces.append(piece)
                size += len(piece)
                if len(piece) < part.size:
                    break
            else:
                pieces.append(part)
                size += len(part)
            if size >= _GATHERED_SIZE_MAX or len(pieces) >= PIECES_MAX:
                break
        reads.read()
        self._sent(self._port.send(pieces, more=more))

    def _sent(self, size: int) -> None:
        """Take `size` bytes off the head of the output."""
        self.written_size += size
        pending = self._pending
        while size:
            head = pending[0]
            if type(head) is FileRange:
                if head.size > size:
                    pending[0] = FileRange(head.file, head.position + size, head.size - size)
                    return
                size -= head.size
                head.file.release()
            else:
                length = len(head)
                if length > size:
                    pending[0] = memoryview(head)[size:]
                    return
                size -= length
            pending.popleft()


class _FileReads:
    """Collects small ranges; those that follow each other in a file are read at once."""

    __slots__ = ("_buffer", "_runs", "size")

    def __init__(self, buffer: memoryview) -> None:
        self._buffer = buffer
        # File, position in it, start and end in the buffer.
        self._runs: list[tuple[FileOwner, int, int, int]] = []
        self.size = 0

    def add(self, part: FileRange, size: int) -> memoryview:
        """Where the range's first `size` bytes will be after `read`."""
        start, end = self.size, self.size + size
        runs = self._runs
        if runs:
            file, position, run_start, run_end = runs[-1]
            if file is part.file and position + run_end - run_start == part.position:
                runs[-1] = (file, position, run_start, end)
            else:
                runs.append((part.file, part.position, start, end))
        else:
            runs.append((part.file, part.position, start, end))
        self.size = end
        return self._buffer[start:end]

    def read(self) -> None:
        for file, position, start, end in self._runs:
            read = 0
            while start + read < end:
                rest = FileRange(file, position + read, end - start - read)
                count = read_cached(rest, self._buffer[start + read : end])
                if not count:
                    raise TruncatedFile(f"no bytes at {position + read}")
                read += count
