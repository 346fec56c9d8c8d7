"""One member of an etcd cluster: its channel, one try of a call, and the streams that hang on it.

Owns the channel and its options. Knows whether anything was sent: a call is begun only on a
connection that stands. Which member is asked, and what a failure means for the caller, is the
business of `etcd_connection`.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from ottla.internal.etcd.v1 import etcd_pb2
from ottla_controller.store.etcd_failures import (
    AttemptFailedError,
    cut_off,
    judge,
    not_begun,
)
from ottla_controller.store.etcd_requests import STATUS, EtcdMethod
from ottla_controller.store.etcd_settings import EtcdEndpoint

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)

Metadata = tuple[tuple[str, str], ...]
AnyStream = grpc.aio.StreamStreamCall[Any, Any]

_WHY_SECONDS: Final = 0.2
# What gRPC says of a server that hung up on what it was not willing to talk to.
_HUNG_UP: Final = ("Socket closed", "Unwrap failed", "Connection reset")
CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    # etcd ends a connection that is pinged more often than every 5 s, or without a call.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A retry of gRPC's own would repeat a transaction blindly.
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # Channels share no connection, so that giving one up means just that.
    ("grpc.use_local_subchannel_pool", 1),
)


class Member(Protocol):
    """What a connection needs of a member."""

    endpoint: EtcdEndpoint

    async def connect(self, timeout_ms: int) -> None:
        """See `EtcdMember.connect`."""
        ...

    async def ask(
        self,
        method: EtcdMethod[_Request, _Response],
        request: _Request,
        *,
        timeout_ms: int,
        metadata: Metadata,
    ) -> _Response:
        """See `EtcdMember.ask`."""
        ...

    def open_stream(self, method: EtcdMethod[_Request, _Response], metadata: Metadata) -> AnyStream:
        """See `EtcdMember.open_stream`."""
        ...

    def close_stream(self, call: AnyStream) -> None:
        """See `EtcdMember.close_stream`."""
        ...

    def cut_streams(self) -> None:
        """See `EtcdMember.cut_streams`."""
        ...

    async def close(self) -> None:
        """See `EtcdMember.close`."""
        ...


class EtcdMember:
    """Made for a store that opens; `close` ends its channel and whatever runs on it."""

    def __init__(
        self,
        endpoint: EtcdEndpoint,
        *,
        credentials: grpc.ChannelCredentials | None,
        answer_bytes_max: int,
        hint: str = "",
    ) -> None:
        """Makes the channel; it connects with the first call.

        Args:
            endpoint: where to.
            credentials: for TLS; None: plaintext.
            answer_bytes_max: largest answer that is taken.
            hint: what to say of a member that ends connections as soon as they are made.
        """
        self.endpoint = endpoint
        self._hint = hint
        target = str(endpoint)
        options = [*CHANNEL_OPTIONS, ("grpc.max_receive_message_length", answer_bytes_max)]
        self._channel = (
            grpc.aio.insecure_channel(target, options=options)
            if credentials is None
            else grpc.aio.secure_channel(target, credentials, options=options)
        )
        self._streams: set[AnyStream] = set()

    async def ask(
        self,
        method: EtcdMethod[_Request, _Response],
        request: _Request,
        *,
        timeout_ms: int,
        metadata: Metadata,
    ) -> _Response:
        """One try; `connect` came before.

        Raises:
            AttemptFailedError: it failed; the judgement says whether it may have been done.
        """
        timeout = timeout_ms / 1_000
        if method.streaming:
            call = self._stream(method, timeout=timeout, metadata=metadata)
            try:
                answer: _Response = await exchanged(call, request)
            finally:
                call.cancel()
            return answer
        unary = self._channel.unary_unary(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        try:
            return await unary(request, timeout=timeout, metadata=metadata)
        except grpc.aio.AioRpcError as error:
            raise self._told(judged(error.code(), error.details())) from None
        except asyncio.CancelledError:
            if not cut_from_below():
                raise
            raise self._told(cut_off("the connection was closed")) from None

    def open_stream(self, method: EtcdMethod[_Request, _Response], metadata: Metadata) -> AnyStream:
        """A stream that lasts until it breaks or the member is given up; `close_stream` ends it."""
        call = self._stream(method, timeout=None, metadata=metadata)
        self._streams.add(call)
        return call

    def close_stream(self, call: AnyStream) -> None:
        """Ends a stream."""
        self._streams.discard(call)
        call.cancel()

    def cut_streams(self) -> None:
        """Ends the streams of a member that does not answer: they would stay silent for ever."""
        for call in tuple(self._streams):
            self.close_stream(call)

    async def connect(self, timeout_ms: int) -> None:
        """Returns on a connection that stands.

        Raises:
            AttemptFailedError: there is none; nothing was sent.
        """
        try:
            async with asyncio.timeout(timeout_ms / 1_000):
                await self._until_ready()
        except TimeoutError:
            raise self._told(not_begun("no connection in time")) from None

    async def close(self) -> None:
        """Ends the channel."""
        self.cut_streams()
        await self._channel.close()

    async def _until_ready(self) -> None:
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.SHUTDOWN:
                raise self._told(not_begun("the metadata store is closed"))
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                return await self._tell_why()
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
        return None

    async def _tell_why(self) -> None:
        """Fails with what gRPC says of the connection, which it tells calls alone."""
        call = self._channel.unary_unary(
            STATUS.path,
            request_serializer=STATUS.request.SerializeToString,
            response_deserializer=STATUS.response.FromString,
        )
        try:
            await call(etcd_pb2.StatusRequest(), timeout=_WHY_SECONDS)
        except grpc.aio.AioRpcError as error:
            why = error.details() or error.code().name
            if self._hint and any(sign in why for sign in _HUNG_UP):
                why = f"{why}; {self._hint}"
            raise self._told(not_begun(why)) from None

    def _stream(
        self,
        method: EtcdMethod[_Request, _Response],
        *,
        timeout: float | None,
        metadata: Metadata,
    ) -> AnyStream:
        opened = self._channel.stream_stream(
            method.path,
            request_serializer=method.request.SerializeToString,
            response_deserializer=method.response.FromString,
        )
        return opened(timeout=timeout, metadata=metadata)

    def _told(self, failed: AttemptFailedError) -> AttemptFailedError:
        failed.judgement.error.message = f"etcd at {self.endpoint}: {failed}"
        failed.judgement.error.args = (failed.judgement.error.message,)
        return failed


async def exchanged(call: AnyStream, request: Message) -> Any:
    """Sends a request into a stream and waits for an answer.

    Raises:
        AttemptFailedError: the stream ended.
    """
    try:
        await call.write(request)
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
        raise await ended(call) from None
    except asyncio.CancelledError:
        if not cut_from_below():
            raise
        raise cut_off("the stream was given up") from None
    return await received(call)


async def received(call: AnyStream) -> Any:
    """The next answer of a stream.

    Raises:
        AttemptFailedError: the stream ended.
    """
    try:
        answer = await call.read()
    except (asyncio.InvalidStateError, grpc.aio.AioRpcError):
        raise await ended(call) from None
    except asyncio.CancelledError:
        if not cut_from_below():
            raise
        raise cut_off("the stream was given up") from None
    if answer is grpc.aio.EOF:
        raise await ended(call)
    return answer


async def ended(call: AnyStream) -> AttemptFailedError:
    """Why a stream ended."""
    return judged(await call.code(), await call.details())


def judged(code: grpc.StatusCode, details: str | None) -> AttemptFailedError:
    return AttemptFailedError(judge(code, details or ""))


def cut_from_below() -> bool:
    """Whether a `CancelledError` came from the call alone: nobody cancels this task."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() == 0
