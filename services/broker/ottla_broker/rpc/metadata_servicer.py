"""MetadataService: where everything is, for clients of one listener.

Owns the two calls. What clients are shown is `client_view`'s, changes are `watch_hub`'s. Asking
makes a topic only if a producer asks for that and the broker is set so.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Any

import grpc

from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import OttlaError
from ottla_broker.metadata.client_view import ClientView, check_asked
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.metadata.watch_hub import WatchHub
from ottla_broker.metadata.watch_interest import WatchInterest
from ottla_broker.rpc.topic_auto_creation import TopicAutoCreation
from ottla_broker.transport.stream import EncodedMessage
from ottla_runtime.interceptors.principal import principal_of

API_FEATURES = ("publish", "produce", "read", "fetch", "list-offsets")

Context = grpc.aio.ServicerContext[Any, Any]


class MetadataServicer(metadata_pb2_grpc.MetadataServiceServicer):
    """Serves MetadataService on one listener."""

    def __init__(
        self,
        view: ClientView,
        hub: WatchHub,
        *,
        applied: VersionWaiters,
        auto_creation: TopicAutoCreation,
        server_version: str,
        trusts_forwarded: bool,
    ) -> None:
        self._view = view
        self._hub = hub
        self._applied = applied
        self._auto_creation = auto_creation
        self._server_version = server_version
        self._trusts_forwarded = trusts_forwarded

    async def GetMetadata(
        self, request: metadata_pb2.GetMetadataRequest, context: Context
    ) -> metadata_pb2.GetMetadataResponse:
        """Answer one page, once the version asked for shows or the call's deadline is over."""
        if request.HasField("min_version"):
            await self._applied.wait_for(ClusterVersion.of(request.min_version))
        failures: dict[str, OttlaError] = {}
        if request.create_missing_topics and self._auto_creation.is_enabled:
            check_asked(request.topics, request.topic_ids)
            failures = await self._create_missing(request.topics, context)
        response = self._view.page(request)
        for topic in response.topics:
            if topic.HasField("error") and topic.name in failures:
                topic.error.CopyFrom(to_proto(failures[topic.name]))
        response.server_version = self._server_version
        response.api_features.extend(API_FEATURES)
        return response

    async def _create_missing(
        self, names: Iterable[str], context: Context
    ) -> dict[str, OttlaError]:
        """Make the topics that are not there; returns why some can't be made, by name."""
        principal = principal_of(
            context.invocation_metadata(), trusts_forwarded=self._trusts_forwarded
        )
        failures: dict[str, OttlaError] = {}

        async def create(name: str) -> None:
            try:
                await self._auto_creation.create(name, principal=principal)
            except OttlaError as error:
                failures[name] = error

        async with asyncio.TaskGroup() as group:
            for name in dict.fromkeys(names):
                if self._view.table.topic(name) is None:
                    group.create_task(create(name), name="auto-create-topic")
        return failures

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
