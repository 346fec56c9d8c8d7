"""What of a connection's output waits, where, and for what; asked by whoever limits or ends it.

Owns no state: it looks into the table of streams, which may change between two questions.
"""

from __future__ import annotations

from ottla_broker.transport.http2.stream_table import StreamTable


class PendingOutput:
    """The DATA that one connection's streams have queued."""

    def __init__(self, table: StreamTable) -> None:
        self._table = table

    @property
    def memory_size(self) -> int:
        """Bytes of DATA queued in memory by all streams."""
        return self._table.scheduler.memory_size

    def queued_size(self, stream_id: int) -> int:
        """Bytes of DATA a stream has queued, file ranges included; 0 when it is closed."""
        stream = self._table.streams.get(stream_id)
        return stream.outbox.size if stream else 0

    def queued_memory_size(self, stream_id: int) -> int:
        """Bytes of DATA a stream has queued in memory; 0 when it is closed."""
        stream = self._table.streams.get(stream_id)
        return stream.outbox.memory_size if stream else 0

    def send_window(self, stream_id: int) -> int:
        """Bytes of DATA the client's windows let a stream send; 0 or less when it is shut."""
        stream = self._table.streams.get(stream_id)
        return min(stream.send_window.size, self._table.scheduler.window.size) if stream else 0

    @property
    def window_is_open(self) -> bool:
        """The connection's own window lets DATA be sent, whatever those of its streams do."""
        return self._table.scheduler.window.size > 0

    def sending_is_held(self, stream_id: int) -> bool:
        """A stream has something queued and the client's window, or a cold file, holds it."""
        stream = self._table.streams.get(stream_id)
        return stream is not None and bool(stream.outbox.items) and not stream.outbox.scheduled
