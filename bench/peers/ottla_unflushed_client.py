"""Ottla where a topic gives up the flush before the acknowledgement, as its peers do."""

from __future__ import annotations

from typing import Final

from bench.peers import ottla_client
from bench.peers.ottla_client import SERVER, consume, produce, receive, send

SETTINGS: Final = "the same with flush.on.ack=false"
__all__ = ["SERVER", "SETTINGS", "consume", "create", "produce", "receive", "send"]


async def create(port: int, topic: str) -> None:
    await ottla_client.create(port, topic, **{"flush.on.ack": "false"})
