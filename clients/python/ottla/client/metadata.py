"""What a client asks brokers about one topic.

Owns asking `GetMetadata` about one topic, once. The view that follows changes is
`metadata_follower`'s.
"""

from __future__ import annotations

import grpc

from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc
from ottla.client.calls import Caller
from ottla.client.rpc_errors import readable
from ottla.protocol.error_details import from_proto
from ottla.protocol.errors import UnknownTopicOrPartition


async def known_partition_count(caller: Caller, topic: str) -> int | None:
    """How many partitions `topic` has; None at once where the broker asked doesn't know it.

    Raises:
        OttlaError: brokers do not answer.
    """

    async def ask(channel: grpc.aio.Channel, timeout_seconds: float) -> int | None:
        described = await _ask(topic, channel, timeout_seconds)
        if not described.HasField("error"):
            return described.partition_count
        error = from_proto(described.error)
        if isinstance(error, UnknownTopicOrPartition):
            return None
        raise error

    return await caller.call(ask)


async def _ask(
    topic: str, channel: grpc.aio.Channel, timeout_seconds: float
) -> metadata_pb2.TopicInfo:
    stub = metadata_pb2_grpc.MetadataServiceStub(channel)
    # The first page counts them all; one partition of it is enough.
    request = metadata_pb2.GetMetadataRequest(topics=[topic], page_size=1)
    response = readable(await stub.GetMetadata(request, timeout=timeout_seconds))
    if not response.topics:
        raise UnknownTopicOrPartition(f"no topic {topic}", metadata={"topic": topic})
    return response.topics[0]
