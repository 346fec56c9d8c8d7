"""The next portion of a connection's output, and what its streams have to know of it.

Taking output is when the core tells which streams have ended, which have room again and which
wait for a cold file; the writer only writes what it is given.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.stream import Part
from ottla_broker.transport.surroundings import Surroundings

if TYPE_CHECKING:
    from ottla_broker.transport.connection import Connection

_log = logging.getLogger(__name__)


class OutputFeed:
    """Takes output from a connection's core, on behalf of its writer."""

    def __init__(self, connection: Connection, surroundings: Surroundings[Connection]) -> None:
        self._connection = connection
        self._around = surroundings

    def take(self, size_max: int) -> list[Part]:
        """The next portion; streams are told what has become of theirs."""
        connection, core = self._connection, self._connection.core
        output = core.data_to_send(
            size_max=size_max,
            now_ms=self._around.clock.monotonic_ms(),
            probe=self._around.page_cache.is_warm,
        )
        connection.room.count()
        for stream_id in core.take_ended():
            stream = connection.streams.get(stream_id)
            if stream is not None:
                connection.stream_over(stream, None)
        for stream_id, piece in core.take_cold():
            # Read in a thread; only this stream waits.
            self._around.read_ahead(piece, partial(self._warmed, stream_id, piece.size))
        for stream_id in connection.room.take_relieved():
            stream = connection.streams.get(stream_id)
            if stream is not None:
                stream.room_changed()
        return output

    def _warmed(self, stream_id: int, size: int, error: BaseException | None) -> None:
        connection = self._connection
        stream = connection.streams.get(stream_id)
        if stream is None:
            return
        if error is not None:
            _log.error("file.unreadable peer=%s error=%s", connection.peer, error)
            stream.reset(ErrorCode.INTERNAL_ERROR)
            return
        connection.core.file_warmed(stream_id, size, now_ms=self._around.clock.monotonic_ms())
        connection.flush_soon()
