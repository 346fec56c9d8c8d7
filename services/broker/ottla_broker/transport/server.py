"""The broker's gRPC server: a `grpc.aio.Server` to its users, on our own HTTP/2.

Owns the registration of methods, ports and the two stages of stopping: drain, then cancel.
Connections belong to the listener, tasks of calls to `call_tasks`, a call's course to `runners`.
Construct it and call it inside the event loop it serves on.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import grpc

from ottla_broker.transport import listening, status
from ottla_broker.transport.addresses import bound_sockets
from ottla_broker.transport.call_tasks import CallTasks
from ottla_broker.transport.context import CallContext
from ottla_broker.transport.credentials import TlsCredentials
from ottla_broker.transport.handlers import Handler, MethodTable
from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.request_head import RequestRefused, read_head
from ottla_broker.transport.runners import run_call
from ottla_broker.transport.stream import GrpcStream, Header, StreamReset

_log = logging.getLogger(__name__)
_STOPPED: tuple[int, str] = (status.UNAVAILABLE, "Server is shutting down")
_FAREWELL_SECONDS = 0.25
_NOT_GRPC_CREDENTIALS = "add_secure_port takes TlsCredentials: grpc.ServerCredentials are opaque"


class Listener(Protocol):
    """The connection side as the server drives it."""

    def serve(self, bound: socket.socket, tls: ssl.SSLContext | None) -> None:
        """Take over a listening socket and accept its connections from now on."""
        ...

    def drain(self) -> None:
        """Accept no more and tell clients to go, letting their open streams finish."""
        ...

    async def close(self, grace_s: float | None = None) -> None:
        """End every connection, those that are busy after `grace_s` seconds."""
        ...


Listen = Callable[[Callable[[GrpcStream], None], TransportLimits], Listener]


class Server(grpc.aio.Server):
    """Serves RPCs from file ranges and raw views as well as from messages."""

    def __init__(
        self,
        *,
        limits: TransportLimits | None = None,
        listen: Listen = listening.listen,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        compression: grpc.Compression | None = None,
        concurrent_calls_max: int | None = None,
    ) -> None:
        self._limits = limits or TransportLimits()
        self._listen = listen
        self._listener: Listener | None = None
        self._interceptors = tuple(interceptors)
        self._compression = compression
        self._concurrent_calls_max = concurrent_calls_max
        self._table = MethodTable()
        self._ports: list[tuple[socket.socket, ssl.SSLContext | None]] = []
        self._started = False
        self._over = False
        """No call is served any more; connections live on to bring statuses home."""
        self._stopping: asyncio.Task[None] | None = None
        self._stop_at = float("inf")
        self._stop_changed = asyncio.Event()
        """Set when the last call is over or `_stop_at` came closer."""
        self._calls = CallTasks(on_idle=self._stop_changed.set)
        self._terminated = asyncio.Event()

    # Registration

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]
    ) -> None:
        """Serve what these handlers know and nothing registered by name answers to."""
        self._table.add_generic(generic_rpc_handlers)

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Serve these methods of `service_name`."""
        self._table.add_registered(service_name, method_handlers)

    def add_insecure_port(self, address: str) -> int:
        """Listen on `host:port` in plaintext and return the port; port 0 lets the kernel choose.

        Raises:
            ValueError: `address` is not `host:port` or `[v6]:port`.
            RuntimeError: it cannot be bound.
        """
        return self._add_port(address, None)

    def add_secure_port(
        self, address: str, server_credentials: grpc.ServerCredentials | TlsCredentials
    ) -> int:
        """Listen on `host:port` with TLS and return the port.

        Raises:
            TypeError: the credentials are gRPC's, which nobody else can read.
            ValueError: `address` is not `host:port` or `[v6]:port`.
            RuntimeError: it cannot be bound.
            OSError: a credentials file is missing or malformed.
        """
        if not isinstance(server_credentials, TlsCredentials):
            raise TypeError(_NOT_GRPC_CREDENTIALS)
        return self._add_port(address, server_credentials.ssl_context())

    def _add_port(self, address: str, tls: ssl.SSLContext | None) -> int:
        if self._started:
            raise grpc.aio.UsageError("ports are added before the server starts")
        sockets = bound_sockets(address)
        self._ports.extend((bound, tls) for bound in sockets)
        return int(sockets[0].getsockname()[1])

    # Life

    async def start(self) -> None:
        """Serve from now on.

        Raises:
            grpc.aio.UsageError: the server was started or stopped before.
        """
        if self._started or self._terminated.is_set():
            raise grpc.aio.UsageError("Server not in ready state")
        self._started = True
        self._listener = self._listen(self.on_stream, self._limits)
        ports, self._ports = self._ports, []
        for bound, tls in ports:
            self._listener.serve(bound, tls)

    async def stop(self, grace: float | None) -> None:
        """Stop: refuse new calls, give those in progress `grace` seconds, cancel the rest.

        Calls with no time left end as UNAVAILABLE. May be called again, from anywhere; the
        earliest end wins. Returns when the last handler is done and connections are closed.
        """
        if self._listener is None:
            self._close_ports()
            return
        loop = asyncio.get_running_loop()
        self._stop_at = min(self._stop_at, loop.time() + (grace or 0.0))
        self._stop_changed.set()
        if self._stopping is None:
            stopping = self._stop(self._listener)
            # Not of the first caller's group: a second may wait on when the first is cancelled.
            self._stopping = loop.create_task(stopping, name="rpc stop")  # noqa: OTL001 - see above
        await asyncio.shield(self._stopping)

    async def _stop(self, listener: Listener) -> None:
        listener.drain()
        loop = asyncio.get_running_loop()
        with contextlib.suppress(TimeoutError):
            while self._calls:
                self._stop_changed.clear()
                async with asyncio.timeout_at(self._stop_at):
                    await self._stop_changed.wait()
        await self._calls.cancel_all(_STOPPED)
        self._over = True
        # Also without grace clients get to read the last statuses before connections end.
        await listener.close(max(self._stop_at - loop.time(), _FAREWELL_SECONDS))
        self._terminated.set()

    def _close_ports(self) -> None:
        for bound, _ in self._ports:
            bound.close()
        self._ports.clear()
        self._terminated.set()

    async def wait_for_termination(self, timeout: float | None = None) -> bool:  # noqa: ASYNC109 - grpc's
        """Wait until the server has stopped; True when `timeout` seconds passed before."""
        try:
            async with asyncio.timeout(timeout):
                await self._terminated.wait()
        except TimeoutError:
            return True
        return False

    # Calls

    def on_stream(self, stream: GrpcStream) -> None:
        """Serve the call on `stream`, in a task of its own with an empty context."""
        if self._over:
            stream.reset(ErrorCode.REFUSED_STREAM)
            return
        try:
            head = read_head(stream.headers)
        except RequestRefused as refused:
            self._calls.start(_refuse(stream, refused.answer))
            return
        context = CallContext(
            stream,
            head,
            message_bytes_max=self._limits.message_size_max,
            compression=self._compression,
        )
        serving = (
            run_call(context, head.path, self._table, self._interceptors)
            if self._has_room()
            else _overloaded(context)
        )
        self._calls.start(serving, context)

    def _has_room(self) -> bool:
        return self._concurrent_calls_max is None or len(self._calls) < self._concurrent_calls_max


async def _refuse(stream: GrpcStream, answer: Sequence[Header]) -> None:
    try:
        await stream.send_trailers(answer)
    except StreamReset:
        _log.debug("client left before it was refused")


async def _overloaded(context: CallContext) -> None:
    try:
        await context.fail(status.RESOURCE_EXHAUSTED, "Concurrent RPC limit exceeded!")
    except grpc.aio.AbortError:
        _log.debug("call refused: as many in progress as the limit allows")
