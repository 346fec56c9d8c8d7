"""One gRPC stream over the HTTP/2 core: the implementation of `stream.GrpcStream`.

It assembles requests, returns flow-control credit as they are taken, and holds senders back
while the stream or its connection has enough queued. It belongs to the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ottla_broker.transport.byte_budget import BudgetShare
from ottla_broker.transport.grpc_frames import (
    PREFIX_SIZE,
    MessageAssembler,
    OutOfMemoryBudget,
)
from ottla_broker.transport.http2.errors import ErrorCode
from ottla_broker.transport.message_sender import MessageSender, release_files
from ottla_broker.transport.stream import (
    Header,
    InboundMessage,
    Part,
    StreamReset,
    TruncatedMessage,
)

if TYPE_CHECKING:
    from ottla_broker.transport.connection import Connection

DoneCallback = Callable[[StreamReset | None], None]


class ServerStream:
    """Created by its connection for each request, which feeds it until it is done."""

    __slots__ = (
        "_assembler",
        "_callbacks",
        "_connection",
        "_done",
        "_error",
        "_owed_size",
        "_receiver",
        "_request_ended",
        "_sender",
        "_share",
        "_stream_id",
        "_trailers_queued",
        "headers_received",
        "message_began_ms",
        "progress_ms",
        "stalled_since_ms",
    )

    def __init__(
        self,
        connection: Connection,
        *,
        stream_id: int,
        headers: Sequence[Header],
        share: BudgetShare,
    ) -> None:
        limits = connection.limits
        self.headers_received = headers
        # For the sweep: when the message being assembled began, when bytes last arrived, since
        # when the client's window has held what is queued.
        self.message_began_ms: int | None = None
        self.progress_ms = 0
        self.stalled_since_ms: int | None = None
        self._connection = connection
        self._stream_id = stream_id
        self._share = share
        self._assembler = MessageAssembler(
            size_max=limits.message_size_max, reserve=share.reserve, buffers=share.buffers
        )
        self._owed_size = 0
        self._request_ended = False
        self._trailers_queued = False
        self._done = False
        self._error: StreamReset | None = None
        self._receiver: asyncio.Future[None] | None = None
        self._sender = MessageSender(connection, stream_id)
        self._callbacks: list[DoneCallback] = []

    # -- what the gRPC side sees ---------------------------------------------------------------

    @property
    def stream_id(self) -> int:
        return self._stream_id

    @property
    def headers(self) -> Sequence[Header]:
        return self.headers_received

    @property
    def peer(self) -> str:
        return self._connection.peer

    @property
    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return self._connection.auth_context

    def receive_nowait(self) -> InboundMessage | None:
        if self._error is not None:
            raise self._error
        assembler = self._assembler
        if assembler.messages:
            return self._take()
        if assembler.refused is not None:
            raise assembler.refused
        return None

    async def receive(self) -> InboundMessage | None:
        while True:
            message = self.receive_nowait()
            if message is not None:
                return message
            if self._request_ended:
                if self._assembler.inside_message:
                    raise TruncatedMessage("the requests ended inside a message")
                return None
            if self._done:
                raise StreamReset(ErrorCode.NO_ERROR)
            assert self._receiver is None, "two receivers of one stream"
            self._receiver = self._connection.loop.create_future()
            try:
                await self._receiver
            finally:
                self._receiver = None

    async def send_headers(self, headers: Sequence[Header]) -> None:
        self._check_open()
        self._connection.core.send_headers(self._stream_id, headers, end_stream=False)
        self._connection.flush_soon()

    def send_message_nowait(self, parts: Sequence[Part], *, compressed: bool = False) -> bool:
        try:
            self._check_open()
        except StreamReset:
            release_files(parts)
            raise
        if not self._sender.has_room():
            return False
        self._sender.put(parts, compressed=compressed)
        return True

    async def send_message(self, parts: Sequence[Part], *, compressed: bool = False) -> None:
        try:
            self._check_open()
            while not self._sender.has_room():
                await self._sender.room()
                self._check_open()
        except BaseException:
            # The parts' files were handed over; nobody else will let go of them.
            release_files(parts)
            raise
        self._sender.put(parts, compressed=compressed)

    def writable_nowait(self) -> int:
        return 0 if self._done else self._sender.writable_size()

    async def writable(self) -> int:
        self._check_open()
        while not (size := self._sender.writable_size()):
            await self._sender.writable()
            self._check_open()
        return size

    async def send_trailers(self, headers: Sequence[Header]) -> None:
        self._check_open()
        self._trailers_queued = True
        self._connection.core.send_headers(self._stream_id, headers, end_stream=True)
        self._connection.flush_soon()

    def reset(self, error_code: int) -> None:
        if not self._done:
            self._connection.core.reset_stream(self._stream_id, error_code)
            self._connection.stream_over(self, StreamReset(error_code))
            self._connection.flush_soon()

    def add_done_callback(self, callback: DoneCallback) -> None:
        if self._done:
            self._connection.loop.call_soon(callback, self._error)
        else:
            self._callbacks.append(callback)

    # -- what the connection drives ------------------------------------------------------------

    @property
    def inside_message(self) -> bool:
        """The client owes the rest of a message."""
        return self._assembler.inside_message

    def data_received(self, data: memoryview, *, now_ms: int) -> None:
        """Take payload. A stream that breaks the budget is reset."""
        try:
            self._assembler.feed(data)
        except OutOfMemoryBudget:
            self.reset(ErrorCode.ENHANCE_YOUR_CALM)
            return
        self._progressed(len(data), now_ms)

    def room(self) -> memoryview | None:
        """Where payload may be received directly, or None."""
        if self._done:
            return None
        try:
            return self._assembler.room()
        except OutOfMemoryBudget:
            self.reset(ErrorCode.ENHANCE_YOUR_CALM)
            return None

    def received_directly(self, size: int, *, now_ms: int) -> None:
        """Count payload put into `room`."""
        self._assembler.received(size)
        self._progressed(size, now_ms)

    def request_ended(self) -> None:
        """The client has ended its side."""
        self._request_ended = True
        self._wake_receiver()

    def room_changed(self) -> None:
        """Less is queued than before: let senders go on, or keep watching."""
        if not self._done:
            self._sender.room_changed()

    def over(self, error: StreamReset | None) -> None:
        """The stream is done, with an error or cleanly; requests not taken are dropped."""
        if self._done:
            return
        self._done = True
        self._error = error
        # Who has answered wants no more requests; who was reset gets none.
        self._share.adjust(-self._assembler.drop())
        self._wake_receiver()
        self._sender.wake()
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            self._connection.loop.call_soon(callback, error)

    # -- receiving -----------------------------------------------------------------------------

    def _take(self) -> InboundMessage:
        message = self._assembler.take()
        size = len(message.payload)
        self._share.adjust(-size)
        # What is owed beyond this message belongs to those behind it, while there are any.
        credit = self._owed_size
        if self._assembler.messages:
            credit = min(credit, size + PREFIX_SIZE)
        self._owed_size -= credit
        if credit and not self._request_ended:
            self._connection.credit(self._stream_id, credit)
        return message

    def _progressed(self, size: int, now_ms: int) -> None:
        self.progress_ms = now_ms
        assembler = self._assembler
        if not assembler.inside_message:
            self.message_began_ms = None
        elif self.message_began_ms is None or assembler.messages:
            self.message_began_ms = now_ms
        self._owed_size += size
        if assembler.messages or assembler.refused is not None:
            self._wake_receiver()
        else:
            # A message in the making gets its window back, or one larger than the window
            # could never arrive. Whole messages wait for someone to take them.
            self._connection.credit(self._stream_id, self._owed_size)
            self._owed_size = 0

    def _wake_receiver(self) -> None:
        receiver = self._receiver
        if receiver is not None and not receiver.done():
            receiver.set_result(None)

    def _check_open(self) -> None:
        if self._error is not None:
            raise self._error
        if self._done or self._trailers_queued:
            raise StreamReset(ErrorCode.STREAM_CLOSED)
