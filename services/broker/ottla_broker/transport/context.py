"""What a handler holds of its call: a `grpc.aio.ServicerContext`, every public method of it.

Owns the interface and its checks, with the behaviour, words and exceptions of `grpc.aio`, so that
a servicer cannot tell the servers apart. The state is `call.Call`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

import grpc

from ottla_broker.transport import status
from ottla_broker.transport.call import EOF, Call
from ottla_broker.transport.handlers import CallDetails
from ottla_broker.transport.metadata import Metadata, received_metadata, sendable_headers

MetadataLike = grpc.aio.Metadata | Sequence[tuple[str, str | bytes]]
_IDENTITY_KEYS = ("x509_subject_alternative_name", "x509_common_name")


class CallContext(Call, grpc.aio.ServicerContext[Any, Any]):
    """The context of one call; used from its handler and the tasks that handler starts."""

    _metadata: Metadata | None = None
    _given_code: Any = None
    _callbacks: tuple[Callable[[CallContext], None], ...] = ()

    async def read(self) -> Any:
        """The next request, or `grpc.aio.EOF` after the last."""
        return await self.receive()

    async def write(self, message: Any) -> None:
        """Send a response: a message of the method's type or an `EncodedMessage`."""
        await self.send(message)

    async def send_initial_metadata(self, initial_metadata: MetadataLike) -> None:
        """Send the response headers now, with `initial_metadata`.

        Raises:
            grpc.aio.UsageError: they are sent already.
        """
        self.check_running()
        if self._headers_sent:
            raise grpc.aio.UsageError("Send initial metadata failed: already sent")
        await self.send_headers(sendable_headers(initial_metadata))

    async def abort(
        self,
        code: grpc.StatusCode,
        details: str = "",
        trailing_metadata: MetadataLike = (),
    ) -> NoReturn:
        """End the call with an error.

        Raises:
            grpc.aio.AbortError: always, once the status is on its way.
            grpc.aio.UsageError: the call was aborted before.
            ValueError: `code` is OK.
        """
        if self._abort_error is not None:
            raise grpc.aio.UsageError("Abort already called!")
        self.check_running()
        number = status.code_number(code)
        if number == status.OK:
            raise ValueError("an abort needs a status other than OK")
        if trailing_metadata:
            self.set_trailing_metadata(trailing_metadata)
        self._given_code = code
        await self.fail(number, details or self._details)

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        """End the call with a rich status, as `grpc_status.rpc_status.to_status` makes it."""
        await self.abort(status.code, status.details or "", status.trailing_metadata or ())

    def set_trailing_metadata(self, trailing_metadata: MetadataLike) -> None:
        """Send this with the status. Raises what cannot be sent, as TypeError or ValueError."""
        sendable_headers(trailing_metadata)
        self._trailing = tuple(trailing_metadata)

    def trailing_metadata(self) -> Any:
        """What `set_trailing_metadata` was given."""
        return self._trailing

    def invocation_metadata(self) -> Any:
        """The client's metadata, a tuple of pairs with `key` and `value`."""
        metadata = self._metadata or self._head.metadata
        if metadata is None:
            metadata = received_metadata(self._stream.headers)
        self._metadata = metadata
        return metadata

    def call_details(self) -> CallDetails:
        """The call as interceptors and generic handlers are told of it."""
        path = self._head.path.decode("utf-8", "replace")
        return CallDetails(path, self.invocation_metadata())

    def set_code(self, code: grpc.StatusCode) -> None:
        """End the call with this code when the handler returns."""
        self._code = status.code_number(code)
        self._given_code = code

    def code(self) -> Any:
        """The code set so far, as it was given; None before."""
        return self._given_code

    def set_details(self, details: str) -> None:
        """End the call with this text when the handler returns."""
        self._details = details

    def details(self) -> str:
        """The text set so far."""
        return self._details

    def set_compression(self, compression: grpc.Compression) -> None:
        """Compress responses, if the client takes it; before the response headers are sent."""
        if self._headers_sent:
            text = "Compression setting must be specified before sending initial metadata"
            raise RuntimeError(text)
        self._compression = compression

    def disable_next_message_compression(self) -> None:
        """Send the next response as it is."""
        self._compress_next = False

    def peer(self) -> str:
        """The client's address, such as `ipv4:127.0.0.1:5000`."""
        return self._stream.peer

    def peer_identities(self) -> Iterable[bytes] | None:
        """What `peer_identity_key` stands for in `auth_context`; None without."""
        key = self.peer_identity_key()
        return None if key is None else self._stream.auth_context[key]

    def peer_identity_key(self) -> str | None:
        """The name of the property of the client's certificate that identifies it."""
        proved = self._stream.auth_context
        return next((key for key in _IDENTITY_KEYS if proved.get(key)), None)

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        """What TLS proved of the client."""
        return self._stream.auth_context

    def time_remaining(self) -> Any:
        """Seconds left until the deadline, at least 0; None without a deadline."""
        if self._deadline is None:
            return None
        return max(self._deadline - asyncio.get_running_loop().time(), 0.0)

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        """Call `callback(context)` when the handler's task is over."""
        self._callbacks = (*self._callbacks, callback)

    def done_callbacks(self) -> tuple[Callable[[CallContext], None], ...]:
        """What `add_done_callback` was given, in order."""
        return self._callbacks

    def cancelled(self) -> bool:
        """Whether the call ended, or is to end, as CANCELLED."""
        return self._code == status.CANCELLED

    def done(self) -> bool:
        """Whether the status is sent or the client is gone."""
        return self._finished or self._gone


class RequestIterator:
    """The requests of a call, for `async for`."""

    __slots__ = ("_context",)

    def __init__(self, context: CallContext) -> None:
        self._context = context

    def __aiter__(self) -> RequestIterator:
        """Itself: there is one stream of requests."""
        return self

    async def __anext__(self) -> Any:
        """The next request."""
        request = await self._context.receive()
        if request is EOF:
            raise StopAsyncIteration
        return request
