"""Channels to the other brokers of the cluster, one each, made when first needed.

Owns the channels and which address a broker is reached at from here. Does not own what is called.
"""

from __future__ import annotations

from collections.abc import Callable

import grpc

from ottla.api.cluster.v1.cluster_pb2 import Endpoint
from ottla.protocol.errors import LeaderNotAvailable
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.views import EndpointView

OpenChannel = Callable[[Endpoint], grpc.aio.Channel]


class PeerChannels:
    """Used on the loop's thread; closed once at the end."""

    def __init__(self, table: ClusterTable, *, listener: str, open_channel: OpenChannel) -> None:
        self._table = table
        self._listener = listener
        self._open_channel = open_channel
        self._channels: dict[NodeId, tuple[EndpointView, grpc.aio.Channel]] = {}

    async def channel(self, node_id: NodeId) -> grpc.aio.Channel:
        """A channel to a broker.

        Raises:
            LeaderNotAvailable: the broker is gone, or doesn't listen where brokers talk.
        """
        broker = self._table.brokers.get(node_id)
        endpoint = None if broker is None else broker.endpoint(self._listener)
        if endpoint is None:
            raise LeaderNotAvailable(f"broker {node_id} can't be reached at the moment")
        known = self._channels.get(node_id)
        if known is not None and known[0] == endpoint:
            return known[1]
        channel = self._open_channel(endpoint.message())
        self._channels[node_id] = (endpoint, channel)
        if known is not None:
            await known[1].close()
        return channel

    async def ready_channel(self, node_id: NodeId) -> grpc.aio.Channel:
        """A channel for a call that mustn't be repeated: one known to be broken is not used.

        Raises:
            LeaderNotAvailable: the broker can't be reached, so surely nothing was sent.
        """
        channel = await self.channel(node_id)
        state = channel.get_state(try_to_connect=True)
        if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            raise LeaderNotAvailable(f"broker {node_id} doesn't answer at the moment")
        return channel

    async def close(self) -> None:
        """Close every channel."""
        channels, self._channels = self._channels, {}
        for _, channel in channels.values():
            await channel.close()
