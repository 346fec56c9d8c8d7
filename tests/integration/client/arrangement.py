"""A cluster of real services with topics on it, and what lies in them by a stock stub."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc

import ottla.testing
from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc
from ottla.testing import AsyncCluster

OPTIONS = (("grpc.use_local_subchannel_pool", 1),)


@asynccontextmanager
async def channel_to(bootstrap: str) -> AsyncIterator[grpc.aio.Channel]:
    """A channel of this test alone."""
    async with grpc.aio.insecure_channel(bootstrap, options=OPTIONS) as channel:
        yield channel


@asynccontextmanager
async def two_topics(**broker_settings: Any) -> AsyncIterator[AsyncCluster]:
    """A cluster with `flights` in three partitions and `single` in one."""
    topics = {"flights": 3, "single": 1}
    async with ottla.testing.cluster(topics=topics, broker_settings=broker_settings) as cluster:
        yield cluster


async def stored(bootstrap: str, topic: str, partition: int = 0) -> list[bytes]:
    """The values of a partition, as a thin client reads them."""
    request = fetch_pb2.ReadRequest(topic=topic, partition=partition)
    request.start.position = fetch_pb2.OFFSET_POSITION_EARLIEST
    request.until.high_watermark_at_start.SetInParent()
    values = []
    async with channel_to(bootstrap) as channel:
        stub: Any = fetch_pb2_grpc.FetchServiceStub(channel)
        async for message in stub.Read(request):
            values += [record.value for record in message.records]
    return values
