"""One call in progress: its state, its messages in and out, and how it ends.

Owns what stands between a handler and a `GrpcStream`: parsing of requests, compression of
responses, the sending of headers once, the single outcome, deadline and cancellation. What
handlers see of it is `context`; who drives it is `runners`. Used by the call's own task, except
for `cancel`, which timers, streams and the server call.

A call ends once, by whichever comes first: its handler's return, an abort, an exception, its
deadline, a reset by the client (then nobody is left to tell), or the server's stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NoReturn

import grpc

from ottla_broker.transport import compression, status
from ottla_broker.transport.handlers import Method, message_parts, release_files
from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.metadata import sendable_headers
from ottla_broker.transport.request_head import RequestHead
from ottla_broker.transport.requests import OFFLOAD_BYTES, Requests, UnusableRequest
from ottla_broker.transport.stream import (
    EncodedMessage,
    GrpcStream,
    Header,
    Part,
    StreamReset,
)

EOF = grpc.aio.EOF
Outcome = tuple[int, str]


class Call:
    """State of one call and the operations on its stream."""

    def __init__(
        self,
        stream: GrpcStream,
        head: RequestHead,
        *,
        message_bytes_max: int,
        compression: grpc.Compression | None,
    ) -> None:
        self._stream = stream
        self._head = head
        self._requests = Requests(stream, encoding=head.encoding, size_max=message_bytes_max)
        self._method: Method | None = None
        self._task: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: float | None = None
        self._compression = compression
        self._encoding: bytes | None = None
        self._compress_next = True
        self._code = status.OK
        self._details = ""
        self._trailing: Sequence[tuple[str, str | bytes]] = ()
        self._headers_sent = False
        self._halted = False
        """The handler has nothing more to do here, for one of the four reasons that follow."""
        self._finished = False
        self._gone = False
        self._answered = False
        self._abort_error: grpc.aio.AbortError | None = None
        self._imposed: Outcome | None = None

    # Life

    def begin(self, task: asyncio.Task[None], loop: asyncio.AbstractEventLoop) -> None:
        """Tie the call to its task: from here on deadline and reset cancel it."""
        self._task = task
        self._stream.add_done_callback(self._stream_over)
        if self._head.timeout_seconds is not None:
            self._deadline = loop.time() + self._head.timeout_seconds
            outcome = (status.DEADLINE_EXCEEDED, "Deadline Exceeded")
            self._timer = loop.call_at(self._deadline, self.cancel, outcome)

    def end(self, *, began: bool) -> None:
        """Let go of the timer; the task is over. No stream outlives it unanswered.

        A task cancelled before its first step has not `began`: the client may try elsewhere.
        """
        if self._timer is not None:
            self._timer.cancel()
        if self._abort_error is not None:
            # Its frames hold the request and this call, which holds the error: without them all
            # of it goes now, rather than when cycles are looked for.
            self._abort_error.__traceback__ = None
            self._abort_error.__cause__ = self._abort_error.__context__ = None
        if not self._answered and not self._gone:
            self._finished = self._halted = True
            self._stream.reset(ErrorCode.INTERNAL_ERROR if began else ErrorCode.REFUSED_STREAM)

    def serve_with(self, method: Method) -> None:
        """Parse requests and serialize responses as `method` says."""
        self._method = method

    def cancel(self, outcome: Outcome) -> None:
        """Cancel the handler and answer `outcome`, whatever the handler makes of it."""
        if self._halted:
            return
        self._halted = True
        self._imposed = outcome
        if self._task is not None:
            self._task.cancel()

    def _stream_over(self, reset: StreamReset | None) -> None:
        if reset is None or self._gone:
            return
        self._gone = True
        if not self._finished:
            self._halted = True
            self._code = status.CANCELLED
            if self._task is not None:
                self._task.cancel()

    def check_running(self) -> None:
        """Raise what stops a handler that goes on after the end of its call."""
        if not self._halted:
            return
        if self._abort_error is not None:
            raise self._abort_error
        if self._finished:
            raise grpc.aio.UsageError("RPC already finished.")
        raise asyncio.CancelledError

    # Requests

    async def receive(self) -> Any:
        """The next request parsed, or `EOF`."""
        if self._halted:
            self.check_running()
        try:
            payload = await self._requests.take()
        except StreamReset as reset:
            self._reset_met(reset)
        except UnusableRequest as unusable:
            await self.fail(unusable.code, unusable.details)
        if payload is None:
            return EOF
        deserialize = self._method.deserialize if self._method is not None else None
        return bytes(payload) if deserialize is None else deserialize(payload)

    async def receive_only(self) -> Any:
        """The one request of a method that takes no stream of them."""
        request = await self.receive()
        if request is EOF:
            await self.fail(status.INTERNAL, "Request of a unary call has no message")
        try:
            await self._requests.take_end()
        except StreamReset as reset:
            self._reset_met(reset)
        except UnusableRequest as unusable:
            await self.fail(unusable.code, unusable.details)
        return request

    def _reset_met(self, reset: StreamReset) -> NoReturn:
        self._stream_over(reset)
        raise asyncio.CancelledError from None

    # Responses

    async def send_headers(self, metadata: Sequence[Header]) -> None:
        """Send the response headers."""
        self._headers_sent = True
        headers: Sequence[Header] = status.RESPONSE_HEADERS
        if self._compression is not None:
            self._encoding = compression.response_encoding(self._compression, self._head.accepted)
            if self._encoding is not None:
                headers = (*headers, (b"grpc-encoding", self._encoding))
        try:
            await self._stream.send_headers((*headers, *metadata) if metadata else headers)
        except StreamReset as reset:
            self._reset_met(reset)

    async def send(self, message: object) -> None:
        """Send one response, the headers first where they are still due."""
        if self._halted or not self._headers_sent:
            await self._prepare_to_send(message)
        serialize = self._method.serialize if self._method is not None else None
        parts = message_parts(message, serialize)
        compressed = False
        if self._encoding is not None:
            parts, compressed = await self._deflated(
                parts, plain=isinstance(message, EncodedMessage)
            )
        try:
            # Whatever these raise, the stream has let go of the message's files.
            if not self._stream.send_message_nowait(parts, compressed=compressed):
                await self._stream.send_message(parts, compressed=compressed)
        except StreamReset as reset:
            self._reset_met(reset)

    def writable_nowait(self) -> int:
        """Bytes the client takes at once; 0 while it takes none, or others are before them."""
        return 0 if self._halted else self._stream.writable_nowait()

    async def writable(self) -> int:
        """Wait until all that was sent has left and the client takes more; how many bytes."""
        self.check_running()
        try:
            return await self._stream.writable()
        except StreamReset as reset:
            self._reset_met(reset)

    def give_up(self) -> None:
        """Reset the stream: what is queued is dropped, the handler cancelled."""
        self._stream.reset(ErrorCode.CANCEL)

    async def _prepare_to_send(self, message: object) -> None:
        try:
            self.check_running()
            await self.send_headers(())
        except BaseException:
            release_files(message)
            raise

    async def _deflated(self, parts: Sequence[Part], *, plain: bool) -> tuple[Sequence[Part], bool]:
        wanted, self._compress_next = self._compress_next, True
        if plain or not wanted or self._encoding is None:
            return parts, False
        pieces = [part for part in parts if isinstance(part, bytes | memoryview)]
        if sum(map(len, pieces)) < OFFLOAD_BYTES:
            return (compression.deflated(pieces, self._encoding),), True
        return (await asyncio.to_thread(compression.deflated, pieces, self._encoding),), True

    # The end

    async def finish(self) -> None:
        """End the call with the status it has."""
        await self._finish(self._code, self._details)

    async def respond(self, message: object) -> None:
        """End a call of a single response; a status other than OK drops the response."""
        if self._halted or self._code != status.OK:
            release_files(message)
            self.check_running()
        else:
            await self.send(message)
        await self.finish()

    async def fail(self, code: int, details: str) -> NoReturn:
        """End the call from inside its handler.

        Raises:
            grpc.aio.AbortError: always; `check_running` raises it again if a handler catches it.
        """
        self._code, self._details = code, details
        error = self._abort_error = grpc.aio.AbortError("Locally aborted.")
        await self.finish()
        raise error

    def aborted_by(self, error: BaseException) -> bool:
        """Whether `error` is the one that ended this call, status sent."""
        return error is self._abort_error

    async def finish_cancelled(self) -> None:
        """End a call whose task was cancelled, by its deadline, its server or its own doing."""
        await self._finish(status.CANCELLED, "Cancelled by the server")

    async def finish_unexpected(self, error: BaseException) -> None:
        """End a call whose handler raised; a status it had set stands."""
        if self._code == status.OK:
            self._code = status.UNKNOWN
        self._details = f"Unexpected {type(error)}: {error}"
        await self.finish()

    async def _finish(self, code: int, details: str) -> None:
        if self._finished or self._gone:
            return
        self._finished = self._halted = True
        if self._imposed is not None:
            code, details = self._imposed
        self._code, self._details = code, details
        metadata = sendable_headers(self._trailing) if self._trailing else ()
        shape = status.status_trailers if self._headers_sent else status.trailers_only
        try:
            await self._stream.send_trailers(shape(code, details, metadata))
            self._answered = True
        except StreamReset as reset:
            self._stream_over(reset)
