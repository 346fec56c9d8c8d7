"""The broker's gRPC servers, one a listener, bound before anything else is done.

Owns binding with clear failures, what stands on each listener, and stopping. A server a listener
lets each servicer know which listener its clients came in on.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import grpc
from grpc_health.v1 import health

from ottla.api.admin.v1 import admin_pb2_grpc
from ottla.api.cluster.v1.cluster_pb2 import SECURITY_TLS, Endpoint
from ottla.api.fetch.v1 import fetch_pb2_grpc
from ottla.api.metadata.v1 import metadata_pb2_grpc
from ottla.api.produce.v1 import produce_pb2_grpc
from ottla.internal.broker.v1 import broker_pb2_grpc
from ottla_broker.config import BrokerConfig
from ottla_broker.rpc.admin_servicer import AdminServicer
from ottla_broker.rpc.broker_servicer import BrokerServicer
from ottla_broker.rpc.fetch_servicer import FetchServicer
from ottla_broker.rpc.metadata_servicer import MetadataServicer
from ottla_broker.rpc.produce_servicer import ProduceServicer
from ottla_broker.transport import Server, TlsCredentials
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy
from ottla_runtime.failures import StartError, listen_failed
from ottla_runtime.grpc_server import add_health_and_reflection, mark_serving
from ottla_runtime.interceptors import standard_interceptors
from ottla_runtime.interceptors.access_log import AccessLines, AccessLogInterceptor
from ottla_runtime.interceptors.authorizer import AllowAll
from ottla_runtime.listeners import advertised_endpoints, format_host_port

PUBLIC_SERVICES = (
    "ottla.api.produce.v1.ProduceService",
    "ottla.api.fetch.v1.FetchService",
    "ottla.api.metadata.v1.MetadataService",
    "ottla.api.admin.v1.AdminService",
)


@dataclass(frozen=True, slots=True)
class Servicers:
    """What stands on one listener."""

    produce: ProduceServicer
    fetch: FetchServicer
    metadata: MetadataServicer
    admin: AdminServicer
    broker: BrokerServicer | None = None
    """Where brokers call each other; reflection and health say nothing of it."""


class ListenerServers:
    """All servers of the broker: bound by `bind`, then filled, started and stopped."""

    def __init__(self, config: BrokerConfig, *, clock: Clock, entropy: Entropy) -> None:
        self._config = config
        self._clock = clock
        self._entropy = entropy
        self._bound: list[tuple[Endpoint, Server]] = []
        self._access_logs: list[AccessLogInterceptor] = []
        self._health: list[health.aio.HealthServicer] = []

    def bind(self) -> None:
        """Have servers hold their ports; they take connections once started.

        Raises:
            StartError: a port can't be had, or a certificate can't be used; `stop` lets go of
                those that were had.
        """
        config = self._config
        for listener in config.listeners():
            interceptors = standard_interceptors(
                clock=self._clock,
                entropy=self._entropy,
                authorizer=AllowAll(),
                access_log=config.access_log,
                trusts_forwarded=config.is_for_services(listener.listener),
            )
            self._access_logs.append(interceptors[0])
            server = Server(interceptors=interceptors)
            port = _bind(server, listener, config)
            taken = Endpoint()
            taken.CopyFrom(listener)
            taken.port = port
            self._bound.append((taken, server))

    @property
    def port(self) -> int:
        """Port of the first listener."""
        return self._bound[0][0].port

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the listeners."""
        return tuple(endpoint.listener for endpoint, _ in self._bound)

    def advertised(self) -> tuple[Endpoint, ...]:
        """Where others reach the listeners.

        Raises:
            StartError: a listener stands on every address and nothing says how others reach it.
        """
        endpoints = [endpoint for endpoint, _ in self._bound]
        ports = {endpoint.listener: endpoint.port for endpoint in endpoints}
        try:
            return advertised_endpoints(endpoints, self._config.advertised, ports)
        except ValueError as error:
            raise StartError(str(error)) from None

    def add(self, listener: str, servicers: Servicers) -> None:
        """Put servicers on a listener, with health and reflection."""
        server = next(server for endpoint, server in self._bound if endpoint.listener == listener)
        produce_pb2_grpc.add_ProduceServiceServicer_to_server(servicers.produce, server)
        fetch_pb2_grpc.add_FetchServiceServicer_to_server(servicers.fetch, server)
        metadata_pb2_grpc.add_MetadataServiceServicer_to_server(servicers.metadata, server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(servicers.admin, server)
        if servicers.broker is not None:
            broker_pb2_grpc.add_BrokerServiceServicer_to_server(servicers.broker, server)
        self._health.append(add_health_and_reflection(server, PUBLIC_SERVICES))

    def set_access_log(self, lines: AccessLines) -> None:
        """Let other calls than so far leave their line in the log."""
        for each in self._access_logs:
            each.lines = lines

    async def start(self) -> None:
        """Take connections; health says that nothing serves yet."""
        for servicer in self._health:
            await mark_serving(servicer, PUBLIC_SERVICES, serving=False)
        for _, server in self._bound:
            await server.start()

    async def set_serving(self) -> None:
        """Have health say, of each service and of all, that callers should come here."""
        for servicer in self._health:
            await mark_serving(servicer, PUBLIC_SERVICES)

    async def drain(self) -> None:
        """Have health say for good that callers should go elsewhere."""
        for servicer in self._health:
            await servicer.enter_graceful_shutdown()

    async def stop(self, grace_seconds: float) -> None:
        """Refuse new calls, give those in progress some time, cancel the rest."""
        async with asyncio.TaskGroup() as group:
            for endpoint, server in self._bound:
                group.create_task(server.stop(grace_seconds), name=f"stop-{endpoint.listener}")


def _bind(server: grpc.aio.Server, listener: Endpoint, config: BrokerConfig) -> int:
    address = format_host_port(listener.host, listener.port)
    try:
        if listener.security != SECURITY_TLS:
            return server.add_insecure_port(address)
        assert config.tls_certificate_path is not None
        assert config.tls_key_path is not None
        tls = TlsCredentials(config.tls_certificate_path, config.tls_key_path)
        return server.add_secure_port(address, tls)  # type: ignore[arg-type]  # ours, not gRPC's
    except RuntimeError as error:
        cause = error.__cause__
        if isinstance(cause, OSError):
            raise listen_failed(listener.host, listener.port, cause) from error
        raise StartError(f"cannot listen on {address}: {error}") from error
    except OSError as error:
        raise StartError(f"the certificate of listener {listener.listener}: {error}") from error
