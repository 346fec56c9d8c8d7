"""Brings what a client did to the streams it did it to, and new streams to the gRPC side."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ottla_broker.transport.byte_budget import BudgetShare
from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.http2.events import (
    ConnectionFailed,
    DataReceived,
    Event,
    GoAwayReceived,
    PingAcknowledged,
    RequestReceived,
    StreamAborted,
    TrailersReceived,
)
from ottla_broker.transport.server_stream import ServerStream
from ottla_broker.transport.stream import GrpcStream, StreamReset

if TYPE_CHECKING:
    from ottla_broker.transport.connection import Connection

_log = logging.getLogger(__name__)


class StreamInbox:
    """Owns the set of a connection's streams; implements the reader's `Inbox`."""

    def __init__(
        self,
        connection: Connection,
        *,
        share: BudgetShare,
        on_stream: Callable[[GrpcStream], None],
    ) -> None:
        self.streams: dict[int, ServerStream] = {}
        self._connection = connection
        self._share = share
        self._on_stream = on_stream

    def events_received(self, events: Sequence[Event], *, now_ms: int) -> None:
        """Act on what the client did; new streams are announced after their first data."""
        opened: list[ServerStream] = []
        for event in events:
            match event:
                case DataReceived():
                    stream = self.streams.get(event.stream_id)
                    if stream is not None:
                        if event.data:
                            stream.data_received(event.data, now_ms=now_ms)
                        if event.end_stream:
                            stream.request_ended()
                case RequestReceived():
                    opened.append(self._open_stream(event, now_ms))
                case TrailersReceived():
                    stream = self.streams.get(event.stream_id)
                    if stream is not None:
                        stream.request_ended()
                case StreamAborted():
                    stream = self.streams.get(event.stream_id)
                    if stream is not None:
                        self._connection.stream_over(stream, StreamReset(event.error_code))
                case ConnectionFailed():
                    self._connection.failed(event)
                case PingAcknowledged() | GoAwayReceived():
                    # Any byte shows that the client lives; its GOAWAY is the core's to obey.
                    pass
        for stream in opened:
            self._announce(stream)

    def room_for(self, stream_id: int) -> memoryview | None:
        """Where a stream's payload may be received directly."""
        stream = self.streams.get(stream_id)
        return stream.room() if stream is not None else None

    def received_directly(self, stream_id: int, size: int, *, now_ms: int) -> None:
        """Count payload put there."""
        self.streams[stream_id].received_directly(size, now_ms=now_ms)

    def _open_stream(self, event: RequestReceived, now_ms: int) -> ServerStream:
        stream = ServerStream(
            self._connection, stream_id=event.stream_id, headers=event.headers, share=self._share
        )
        stream.progress_ms = now_ms
        if event.end_stream:
            stream.request_ended()
        self.streams[event.stream_id] = stream
        return stream

    def _announce(self, stream: ServerStream) -> None:
        try:
            self._on_stream(stream)
        except Exception:  # noqa: BLE001 - the root of the request; the connection must go on
            _log.exception("stream.failed peer=%s stream=%d", stream.peer, stream.stream_id)
            stream.reset(ErrorCode.INTERNAL_ERROR)
