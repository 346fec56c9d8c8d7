"""Topics made when somebody first publishes to them, where the broker is set so.

Owns that one creation runs for a name however many calls wait for it. Never used for reading.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from ottla.api.admin.v1 import admin_pb2
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import TopicExists

CreateTopics = Callable[
    [admin_pb2.CreateTopicsRequest, str], Awaitable[admin_pb2.CreateTopicsResponse]
]


class TopicAutoCreation:
    """Creates topics with the cluster's defaults."""

    def __init__(self, create_topics: CreateTopics, *, is_enabled: Callable[[], bool]) -> None:
        self._create_topics = create_topics
        self._is_enabled = is_enabled
        self._running: dict[str, asyncio.Event] = {}

    @property
    def is_enabled(self) -> bool:
        """Whether the broker is set so at the moment."""
        return self._is_enabled()

    async def create(self, name: str, *, principal: str) -> None:
        """Return once the topic of that name shows here.

        Raises:
            OttlaError: it can't be created, with the reason; or another call's try failed, which
                shows as UNKNOWN_TOPIC_OR_PARTITION to the caller that looks it up.
        """
        running = self._running.get(name)
        if running is not None:
            await running.wait()
            return
        done = self._running[name] = asyncio.Event()
        try:
            request = admin_pb2.CreateTopicsRequest(topics=[admin_pb2.NewTopic(name=name)])
            answer = await self._create_topics(request, principal)
            for result in answer.results:
                if result.HasField("error"):
                    error = from_proto(result.error)
                    if not isinstance(error, TopicExists):
                        raise error
        finally:
            del self._running[name]
            done.set()
