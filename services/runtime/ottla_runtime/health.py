"""The health port: gRPC's health service alone, in plaintext, for the kubelet's `grpc:` probes.

Owns the names `startup` (recovery done), `ready` (registered, caught up once, not draining) and
`live` (the event loop answers; never depends on peers, the metadata store or a full disk). What
makes a service started or ready is its own matter.
"""

from __future__ import annotations

from typing import Final, Self

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from ottla.api.cluster.v1.cluster_pb2 import SECURITY_PLAINTEXT, Endpoint
from ottla_runtime.grpc_server import bind

STARTUP: Final = "startup"
READY: Final = "ready"
LIVE: Final = "live"

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_STOP_GRACE_SECONDS = 0.2


class HealthPort:
    """Answers probes from `start` to `stop`; the service's main task owns it.

    As a context manager it stops at the end of the block, started or not.
    """

    def __init__(self) -> None:
        self._server: grpc.aio.Server | None = None
        self._servicer = health.aio.HealthServicer()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self, host: str, port: int) -> int:
        """Serve on `host:port` and return the port; live at once, neither started nor ready.

        Raises:
            StartError: it cannot listen there.
        """
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, server)
        endpoint = Endpoint(listener="health", host=host, port=port, security=SECURITY_PLAINTEXT)
        bound = bind(server, endpoint)
        await self._servicer.set(LIVE, _SERVING)
        await self._servicer.set(STARTUP, _NOT_SERVING)
        await self._servicer.set(READY, _NOT_SERVING)
        await self._servicer.set("", _NOT_SERVING)
        await server.start()
        self._server = server
        return bound

    async def set_started(self) -> None:
        """Recovery is done; stays so."""
        await self._servicer.set(STARTUP, _SERVING)

    async def set_ready(self, ready: bool) -> None:
        """Whether callers should be sent here."""
        status = _SERVING if ready else _NOT_SERVING
        await self._servicer.set(READY, status)
        await self._servicer.set("", status)

    async def stop(self) -> None:
        """Stop answering; without effect before `start` or the second time."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(_STOP_GRACE_SECONDS)
