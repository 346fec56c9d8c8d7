"""One server and its stock client, whichever server it is."""

from __future__ import annotations

import contextlib
import ssl
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import grpc
from google.protobuf.wrappers_pb2 import BytesValue

from ottla_broker.transport import Server, TlsCredentials
from ottla_broker.transport.aio_adapter import AioServerAdapter

SERVICE = "suite.v1.SuiteService"
CERTIFICATES = Path(__file__).parents[2] / "kit" / "tls"
TLS = TlsCredentials(
    CERTIFICATES / "server.pem",
    CERTIFICATES / "server.key",
    client_ca_file=CERTIFICATES / "ca.pem",
)
# Read here: a test runs in the event loop, which must not wait for files.
_AUTHORITY, _CLIENT_KEY, _CLIENT_CERTIFICATE = (
    (CERTIFICATES / name).read_bytes() for name in ("ca.pem", "client.key", "client.pem")
)
KINDS = {
    "unary": grpc.unary_unary_rpc_method_handler,
    "server_stream": grpc.unary_stream_rpc_method_handler,
    "client_stream": grpc.stream_unary_rpc_method_handler,
    "bidi": grpc.stream_stream_rpc_method_handler,
}


class Rpc:
    """Serves methods of one service and calls them; messages are `BytesValue`."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.server: grpc.aio.Server
        self.registrar: Any
        self.channel: grpc.aio.Channel
        self.port = 0
        self._methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
        self._exits = contextlib.AsyncExitStack()

    @property
    def is_ours(self) -> bool:
        return self.kind != "grpc"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._exits.aclose()

    def method(self, kind: str, function: Callable[..., Any], name: str = "Method") -> Self:
        """Serve `function` as a method of this kind."""
        self._methods[name] = KINDS[kind](
            function,
            request_deserializer=BytesValue.FromString,
            response_serializer=BytesValue.SerializeToString,
        )
        return self

    def create(
        self,
        *,
        interceptors: Sequence[grpc.aio.ServerInterceptor] = (),
        compression: grpc.Compression | None = None,
        concurrent_calls_max: int | None = None,
    ) -> Self:
        """Make the server, for tests that register more than methods."""
        if self.is_ours:
            self.server = self.registrar = Server(
                interceptors=interceptors,
                compression=compression,
                concurrent_calls_max=concurrent_calls_max,
            )
        else:
            self.server = grpc.aio.server(
                interceptors=interceptors,
                compression=compression,
                maximum_concurrent_rpcs=concurrent_calls_max,
            )
            self.registrar = AioServerAdapter(self.server)
        return self

    async def serve(self, *, generic: bool = False, **options: Any) -> Self:
        """Start the server with the methods given so far, and a channel to it."""
        if not hasattr(self, "server"):
            self.create(**options)
        if generic:
            handler = grpc.method_handlers_generic_handler(SERVICE, self._methods)
            self.registrar.add_generic_rpc_handlers((handler,))
        else:
            self.registrar.add_registered_method_handlers(SERVICE, self._methods)
        if self.kind == "ours-tls":
            self.port = self.registrar.add_secure_port("127.0.0.1:0", TLS)
        else:
            self.port = self.server.add_insecure_port("127.0.0.1:0")
        await self.server.start()
        self._exits.push_async_callback(self.server.stop, None)
        self.channel = self.connect()
        return self

    def connect(
        self,
        *,
        compression: grpc.Compression | None = None,
        options: Mapping[str, Any] | None = None,
        client_certificate: bool = False,
    ) -> grpc.aio.Channel:
        """A channel of its own, closed with the arrangement."""
        # A subchannel of its own, or channels of one address would share a connection.
        arguments = [*(options or {}).items(), ("grpc.use_local_subchannel_pool", 1)]
        target = f"localhost:{self.port}"
        if self.kind != "ours-tls":
            channel = grpc.aio.insecure_channel(
                f"127.0.0.1:{self.port}", options=arguments, compression=compression
            )
        else:
            credentials = _client_credentials(client_certificate)
            channel = grpc.aio.secure_channel(
                target, credentials, options=arguments, compression=compression
            )
        self._exits.push_async_callback(channel.close, None)
        return channel

    def stub(
        self,
        kind: str,
        name: str = "Method",
        *,
        channel: grpc.aio.Channel | None = None,
        raw: bool = False,
    ) -> Any:
        """The callable of a method; `raw` sends and returns bytes as they are."""
        channel = channel or self.channel
        kinds = {
            "unary": channel.unary_unary,
            "server_stream": channel.unary_stream,
            "client_stream": channel.stream_unary,
            "bidi": channel.stream_stream,
        }
        if raw:
            return kinds[kind](f"/{SERVICE}/{name}")
        return kinds[kind](
            f"/{SERVICE}/{name}",
            request_serializer=BytesValue.SerializeToString,
            response_deserializer=BytesValue.FromString,
        )


def _client_credentials(with_certificate: bool) -> grpc.ChannelCredentials:
    if not with_certificate:
        return grpc.ssl_channel_credentials(_AUTHORITY)
    return grpc.ssl_channel_credentials(_AUTHORITY, _CLIENT_KEY, _CLIENT_CERTIFICATE)


def tls_context() -> ssl.SSLContext:
    """For a client that makes its own connections and speaks HTTP/2 on them."""
    context = ssl.create_default_context(cadata=_AUTHORITY.decode())
    context.set_alpn_protocols(["h2"])
    return context


def message(value: bytes | str | int) -> BytesValue:
    """A message of the suite."""
    return BytesValue(value=value if isinstance(value, bytes) else str(value).encode())


async def failure(call: Any) -> grpc.aio.AioRpcError:
    """The error a call ends with; a stream is read to its end."""
    try:
        if hasattr(call, "__aiter__"):
            async for _ in call:
                pass
        else:
            await call
    except grpc.aio.AioRpcError as error:
        return error
    raise AssertionError("the call succeeded")


def own_metadata(metadata: Any) -> list[tuple[str, Any]]:
    """What a server added: without what gRPC itself says of the connection."""
    return [(key, value) for key, value in metadata if key.startswith("x-")]
