"""MetadataService: where everything is, for clients of one listener.

Owns the two calls. What clients are shown is `client_view`'s, changes are `watch_hub`'s.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc

from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.metadata.watch_hub import WatchHub
from ottla_broker.metadata.watch_interest import WatchInterest
from ottla_broker.transport.stream import EncodedMessage

API_FEATURES = ("publish", "produce", "read", "fetch", "list-offsets")

Context = grpc.aio.ServicerContext[Any, Any]


class MetadataServicer(metadata_pb2_grpc.MetadataServiceServicer):
    """Serves MetadataService on one listener."""

    def __init__(
        self, view: ClientView, hub: WatchHub, *, applied: VersionWaiters, server_version: str
    ) -> None:
        self._view = view
        self._hub = hub
        self._applied = applied
        self._server_version = server_version

    async def GetMetadata(
        self, request: metadata_pb2.GetMetadataRequest, context: Context
    ) -> metadata_pb2.GetMetadataResponse:
        """Answer one page, once the version asked for shows or the call's deadline is over."""
        if request.HasField("min_version"):
            await self._applied.wait_for(ClusterVersion.of(request.min_version))
        response = self._view.page(request)
        response.server_version = self._server_version
        response.api_features.extend(API_FEATURES)
        return response

    async def WatchMetadata(
        self, request: metadata_pb2.WatchMetadataRequest, context: Context
    ) -> AsyncIterator[Any]:
        """Send a snapshot of the topics followed, then their changes, as encoded messages."""
        interest = WatchInterest.of(request)
        from_version = None
        if request.HasField("from_version"):
            from_version = ClusterVersion.of(request.from_version)
        async for message in self._hub.watch(interest, from_version):
            yield EncodedMessage((message,))
