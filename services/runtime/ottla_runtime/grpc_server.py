"""A `grpc.aio` server as services of the platform set one up.

Owns its options (the server's side of the keepalive policy, message sizes, age of connections),
binding with clear failures, and health and reflection beside the service's own RPCs, which the
broker has on a transport of its own with the same policy.
"""

from __future__ import annotations

import contextlib
import ipaddress
import socket
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ottla.api.cluster.v1.cluster_pb2 import SECURITY_TLS, Endpoint
from ottla_runtime.channels import KEEPALIVE_INTERVAL_MS, MESSAGE_BYTES_MAX
from ottla_runtime.failures import StartError, listen_failed
from ottla_runtime.listeners import format_host_port
from ottla_runtime.reflection import add_reflection

_MINUTE_MS: Final = 60_000

SERVER_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # Two servers on one port would each get half of the connections, unnoticed.
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Half of what clients are allowed, so that a ping that comes early is no strike.
    ("grpc.http2.min_ping_interval_without_data_ms", KEEPALIVE_INTERVAL_MS // 2),
    # gRPC spreads this by a tenth either way; the grace lets calls end before the connection does.
    ("grpc.max_connection_age_ms", 30 * _MINUTE_MS),
    ("grpc.max_connection_age_grace_ms", 5 * _MINUTE_MS),
    ("grpc.max_concurrent_streams", 1_000),
)


def make_aio_server(
    *,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Server:
    """A server without services or ports yet.

    Args:
        interceptors: outermost first, as `interceptors.standard_interceptors` gives them.
        options: channel arguments on top of the policy, winning over it.
    """
    merged = [*(dict(SERVER_OPTIONS) | dict(options)).items()]
    return grpc.aio.server(interceptors=list(interceptors), options=merged)


def add_health_and_reflection(
    server: grpc.aio.Server, service_names: Sequence[str]
) -> health.aio.HealthServicer:
    """Serve gRPC's health and reflection services beside `service_names`, on any server.

    Returns:
        The health servicer, on which the caller sets what serves: `mark_serving`, and at the end
        its `enter_graceful_shutdown`.
    """
    servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    add_reflection(server, [*service_names, health.SERVICE_NAME])
    return servicer


@contextlib.asynccontextmanager
async def serving(server: grpc.aio.Server, *, grace_seconds: float) -> AsyncIterator[None]:
    """Start `server`, and stop it however the block ends.

    An orderly end gives calls in progress `grace_seconds`; a failure or cancellation gives none.
    """
    grace = 0.0
    await server.start()
    try:
        yield
        grace = grace_seconds
    finally:
        await server.stop(grace)


async def mark_serving(
    servicer: health.aio.HealthServicer, names: Sequence[str], *, serving: bool = True
) -> None:
    """Say whether `names` serve, and with the empty name whether the server as a whole does."""
    response = health_pb2.HealthCheckResponse
    for name in ("", *names):
        await servicer.set(name, response.SERVING if serving else response.NOT_SERVING)


def bind(
    server: grpc.aio.Server,
    endpoint: Endpoint,
    *,
    credentials: grpc.ServerCredentials | None = None,
) -> int:
    """Listen on `endpoint` and return the port, which matters for port 0.

    Raises:
        StartError: it cannot listen there, with the reason and what to do, or the endpoint asks for
            TLS and there are no credentials.
    """
    _try_address(endpoint)
    target = format_host_port(endpoint.host, endpoint.port)
    try:
        if endpoint.security == SECURITY_TLS:
            if credentials is None:
                raise StartError(f"listener {endpoint.listener} asks for TLS; set its certificate")
            port = server.add_secure_port(target, credentials)
        else:
            port = server.add_insecure_port(target)
    except RuntimeError as error:
        # Taken between the try and now; gRPC hides the reason in a long text.
        raise StartError(f"cannot listen on {target}: {error}") from error
    return port


def _try_address(endpoint: Endpoint) -> None:
    """Bind a socket of our own for a moment: its error says why, which gRPC's does not."""
    try:
        addresses = socket.getaddrinfo(
            endpoint.host,
            endpoint.port,
            type=socket.SOCK_STREAM,
            flags=socket.AI_PASSIVE | _numeric_flag(endpoint.host),
        )
    except socket.gaierror as error:
        shown = format_host_port(endpoint.host, endpoint.port)
        raise StartError(f"cannot listen on {shown}: {error.strerror}") from None
    family, kind, protocol, _, address = addresses[0]
    with socket.socket(family, kind, protocol) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            trial.bind(address)
        except OSError as error:
            raise listen_failed(endpoint.host, endpoint.port, error) from None


def _numeric_flag(host: str) -> int:
    """Resolving names may block; an address needs none of it."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return 0
    return socket.AI_NUMERICHOST
