"""A channel that leads nowhere, for tests that make calls by other means.

A real one would start gRPC's poller thread, and end it whenever the garbage collector comes by.
"""

from __future__ import annotations

from typing import cast

import grpc

from ottla.client.bootstrap import Address
from ottla.client.channel_set import ChannelSet


class NoChannel:
    def __init__(self) -> None:
        self.closed = False

    async def close(self) -> None:
        self.closed = True


def channels_to(*addresses: Address) -> ChannelSet:
    return ChannelSet(addresses, opener=lambda _: cast("grpc.aio.Channel", NoChannel()))
