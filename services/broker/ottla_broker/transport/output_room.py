"""How much a connection may queue for sending, and who waits for that to become less."""

from __future__ import annotations

from ottla_broker.transport.byte_budget import BudgetShare
from ottla_broker.transport.http2 import ServerConnection


class OutputRoom:
    """Counts a connection's queued output against its share of memory."""

    def __init__(self, core: ServerConnection, share: BudgetShare, queue_size_max: int) -> None:
        self._core = core
        self._share = share
        self._queue_size_max = queue_size_max
        self._counted_size = 0
        # Streams that wait for the connection's queue to become shorter, not for their own.
        self._crowded_out: set[int] = set()
        # Streams with nothing queued that wait for the connection to take more, in order.
        self._line: dict[int, None] = {}

    def has_room(self, *, first: bool) -> bool:
        """The connection may queue more for a stream.

        For the `first` message of a stream only its share of memory counts, so that streams whose
        windows the client leaves shut do not hold up the others; it always may when it has
        nothing queued at all.
        """
        size = self._core.output.memory_size
        if not size:
            return True
        if self._share.exhausted:
            return False
        return first or size < self._queue_size_max

    def count(self) -> None:
        """Bring the connection's share of memory up to date with what is queued."""
        size = self._core.output.memory_size
        self._share.adjust(size - self._counted_size)
        self._counted_size = size

    def watch(self, stream_id: int) -> None:
        """Name the stream in `take_relieved` when less is queued."""
        if self._core.output.queued_size(stream_id):
            self._core.watch_for_room(stream_id)
        else:
            self._crowded_out.add(stream_id)

    def watch_until_empty(self, stream_id: int) -> None:
        """Name the stream in `take_relieved` when it may have nothing queued and may send."""
        if self._core.output.queued_size(stream_id):
            self._core.watch_for_room(stream_id)
        elif not self._core.watch_for_window(stream_id):
            self._line[stream_id] = None

    @property
    def has_line(self) -> bool:
        """Streams wait for their turn on this connection."""
        return bool(self._line)

    def take_relieved(self) -> list[int]:
        """Streams that were watched and may have room now.

        Of those that wait for the connection's window one is named at a time: a client that opens
        it by a byte must not wake a thousand.
        """
        relieved = self._core.take_relieved()
        if self._line and self._core.output.window_is_open:
            stream_id = next(iter(self._line))
            del self._line[stream_id]
            relieved.append(stream_id)
        if self._crowded_out and self.has_room(first=True):
            relieved += self._crowded_out
            self._crowded_out.clear()
        return relieved

    def forget(self, stream_id: int) -> None:
        """The stream is over."""
        self._crowded_out.discard(stream_id)
        self._line.pop(stream_id, None)
