"""Who leads what, asked for and followed as the client guide describes it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from integration.client_guide.guide_calls import CallFailed, Connections, Failure, Waits, read

from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc

SILENCE_SECONDS = 45.0


@dataclass
class Leader:
    node_id: int | None
    epoch: int


@dataclass
class Topic:
    topic_id: bytes
    partition_count: int
    leaders: dict[int, Leader] = field(default_factory=dict)


class Metadata:
    """A client's view; `follow` keeps it current."""

    def __init__(self, bootstrap: str, connections: Connections) -> None:
        self._bootstrap = bootstrap
        self.connections = connections
        self.addresses: dict[int, str] = {}
        self.topics: dict[str, Topic] = {}
        self.changed = asyncio.Condition()

    async def topic(self, name: str) -> Topic:
        """Wait until the topic is there and each of its partitions is led somewhere we know."""
        async with self.changed:
            await self.changed.wait_for(lambda: self._is_led(name))
        return self.topics[name]

    def _is_led(self, name: str) -> bool:
        topic = self.topics.get(name)
        if topic is None or len(topic.leaders) < topic.partition_count:
            return False
        return all(leader.node_id in self.addresses for leader in topic.leaders.values())

    def address(self, topic: str, partition: int) -> str | None:
        leader = self.topics[topic].leaders[partition]
        return None if leader.node_id is None else self.addresses.get(leader.node_id)

    async def wait(self, seconds: float) -> None:
        """Return at the next change, or when so much time is over."""
        try:
            async with asyncio.timeout(seconds), self.changed:
                await self.changed.wait()
        except TimeoutError:
            return

    # Following

    async def follow(self, names: Iterable[str]) -> None:
        """Follow topics for ever, through whatever breaks."""
        request = metadata_pb2.WatchMetadataRequest(topics=list(names))
        waits = Waits()
        while True:
            channel = self.connections.to(self._bootstrap)
            stub: Any = metadata_pb2_grpc.MetadataServiceStub(channel)
            call = stub.WatchMetadata(request)
            try:
                while True:
                    await self._take(await self._next(call))
                    waits.succeeded()
            except CallFailed:
                await self.wait(waits.next_seconds())
            finally:
                call.cancel()

    async def _next(self, call: Any) -> metadata_pb2.WatchMetadataResponse:
        try:
            async with asyncio.timeout(SILENCE_SECONDS):
                message = await read(call)
        except TimeoutError:
            message = Failure("TRANSPORT_FAILED", {})
        if isinstance(message, Failure):
            raise CallFailed(message)
        assert isinstance(message, metadata_pb2.WatchMetadataResponse)
        return message

    async def _take(self, message: metadata_pb2.WatchMetadataResponse) -> None:
        if message.snapshot_begin:
            self.addresses.clear()  # leaders stay: their epochs tell what is newer
        for node_id in message.removed_broker_ids:
            self.addresses.pop(node_id, None)
        self._take_brokers(message.brokers)
        gone = set(message.removed_topic_ids)
        self.topics = {k: v for k, v in self.topics.items() if v.topic_id not in gone}
        self._take_topics(message.topics)
        async with self.changed:
            self.changed.notify_all()

    def _take_brokers(self, brokers: Iterable[metadata_pb2.BrokerInfo]) -> None:
        for broker in brokers:
            if broker.HasField("endpoint"):
                host = broker.endpoint.host
                shown = f"[{host}]" if ":" in host else host
                self.addresses[broker.node_id] = f"{shown}:{broker.endpoint.port}"

    def _take_topics(self, infos: Iterable[metadata_pb2.TopicInfo]) -> None:
        for info in infos:
            if info.HasField("error"):
                self.topics.pop(info.name, None)
                continue
            topic = self.topics.get(info.name)
            if topic is None or topic.topic_id != info.topic_id:
                topic = self.topics[info.name] = Topic(info.topic_id, info.partition_count)
            topic.partition_count = info.partition_count
            for said in info.partitions:
                known = topic.leaders.get(said.partition)
                if known is None or said.leader_epoch >= known.epoch:
                    node_id = said.leader_id if said.HasField("leader_id") else None
                    topic.leaders[said.partition] = Leader(node_id, said.leader_epoch)

    # Asking once

    async def look_up(self, name: str) -> None:
        """Ask for one topic, page by page. Raises grpc.RpcError."""
        channel = self.connections.to(self._bootstrap)
        stub: Any = metadata_pb2_grpc.MetadataServiceStub(channel)
        token = ""
        while True:
            request = metadata_pb2.GetMetadataRequest(topics=[name], page_token=token)
            page = await stub.GetMetadata(request, timeout=30)
            self._take_brokers(page.brokers)
            self._take_topics(page.topics)
            token = page.next_page_token
            if not token:
                return
