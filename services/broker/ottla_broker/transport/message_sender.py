"""Queues the messages of one stream for sending, and holds senders back when enough is queued."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ottla_broker.transport.grpc_frames import MESSAGE_SIZE_LIMIT, prefix
from ottla_broker.transport.http2.errors import ErrorCode
from ottla_broker.transport.stream import FileRange, Part, StreamReset

if TYPE_CHECKING:
    from ottla_broker.transport.connection import Connection


class MessageSender:
    """The sending half of a stream; who is held back waits in `room`."""

    __slots__ = (
        "_connection",
        "_queue_size_max",
        "_stream_id",
        "_waiting",
        "_waiting_for_window",
    )

    def __init__(self, connection: Connection, stream_id: int) -> None:
        self._connection = connection
        self._stream_id = stream_id
        self._queue_size_max = connection.limits.stream_queue_size_max
        self._waiting: list[asyncio.Future[None]] = []
        self._waiting_for_window: list[asyncio.Future[None]] = []

    def has_room(self) -> bool:
        """Another message may be queued."""
        return self._queued_less_than(self._queue_size_max)

    async def room(self) -> None:
        """Wait until there may be room again, or the stream is over."""
        woken = self._connection.loop.create_future()
        self._waiting.append(woken)
        self._connection.room.watch(self._stream_id)
        try:
            await woken
        finally:
            if woken in self._waiting:
                self._waiting.remove(woken)

    def writable_size(self) -> int:
        """Bytes that could leave now: 0 while anything is queued, blocked, or a window shut."""
        connection = self._connection
        if connection.writing_is_blocked or connection.core.output.queued_size(self._stream_id):
            return 0
        return max(connection.core.output.send_window(self._stream_id), 0)

    async def writable(self) -> None:
        """Wait until `writable_size` may have changed, or the stream is over."""
        woken = self._connection.loop.create_future()
        self._waiting_for_window.append(woken)
        self._connection.room.watch_until_empty(self._stream_id)
        try:
            await woken
        finally:
            if woken in self._waiting_for_window:
                self._waiting_for_window.remove(woken)
            if self._connection.room.has_line:
                # Whatever becomes of this turn, the next one's comes.
                self._connection.flush_soon()

    def room_changed(self) -> None:
        """Less is queued than before: let senders go on at half, else keep watching."""
        self._wake(self._waiting_for_window)
        if not self._waiting:
            return
        if self._queued_less_than(self._queue_size_max // 2 + 1):
            self._wake(self._waiting)
        else:
            self._connection.room.watch(self._stream_id)

    def wake(self) -> None:
        """Let everybody who waits look again."""
        self._wake(self._waiting)
        self._wake(self._waiting_for_window)

    def _wake(self, waiting: list[asyncio.Future[None]]) -> None:
        for woken in waiting:
            if not woken.done():
                woken.set_result(None)
        waiting.clear()

    def put(self, parts: Sequence[Part], *, compressed: bool) -> None:
        """Queue a message, whether there is room or not; its files are the transport's now.

        Raises:
            StreamReset: the stream is closed already.
            ValueError: the message is longer than a prefix can say.
        """
        size = 0
        for part in parts:
            size += part.size if type(part) is FileRange else len(part)
        connection = self._connection
        if size > MESSAGE_SIZE_LIMIT:
            release_files(parts)
            raise ValueError(f"a message of {size} bytes exceeds what gRPC can frame")
        message = (prefix(size, compressed=compressed), *parts)
        if not connection.core.send_data(self._stream_id, message):
            release_files(parts)
            raise StreamReset(ErrorCode.STREAM_CLOSED)
        connection.room.count()
        connection.flush_soon()

    def _queued_less_than(self, size: int) -> bool:
        queued = self._connection.core.output.queued_size(self._stream_id)
        return queued < size and self._connection.room.has_room(first=not queued)


def release_files(parts: Sequence[Part]) -> None:
    """Let go of the files of a message that is not sent."""
    for part in parts:
        if type(part) is FileRange:
            part.file.release()
