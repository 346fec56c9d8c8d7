"""Somebody who creates topics without pause through a broker, and keeps book of what was said.

Whatever was acknowledged has to be there in the end, and what is there must have been asked for.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import grpc
from integration.walk.processes import Client

from ottla.api.admin.v1 import admin_pb2
from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion

CALL_SECONDS = 8.0
PAUSE_SECONDS = 0.02


@dataclass
class Ledger:
    """What was asked for, what was acknowledged, and under which versions, in order."""

    asked: list[str] = field(default_factory=list)
    acknowledged: list[str] = field(default_factory=list)
    versions: list[tuple[int, int]] = field(default_factory=list)
    acknowledged_at: list[float] = field(default_factory=list)
    grown: asyncio.Event = field(default_factory=asyncio.Event)

    def take(self, name: str, version: MetadataVersion) -> None:
        self.acknowledged.append(name)
        self.versions.append((version.generation, version.revision))
        self.acknowledged_at.append(time.monotonic())
        self.grown.set()

    async def grows_by(self, count: int) -> None:
        """Returns once so many more were acknowledged; what they wait for has a bound."""
        goal = len(self.acknowledged) + count
        async with asyncio.timeout(30):
            while len(self.acknowledged) < goal:
                self.grown.clear()
                await self.grown.wait()

    @property
    def longest_gap_seconds(self) -> float:
        """Between two acknowledgements that follow each other."""
        return max((b - a for a, b in itertools.pairwise(self.acknowledged_at)), default=0.0)


async def write(client: Client, ledger: Ledger) -> None:
    """One topic after the other until cancelled."""
    while True:
        name = f"t{len(ledger.asked):05d}"
        ledger.asked.append(name)
        request = admin_pb2.CreateTopicsRequest(topics=[admin_pb2.NewTopic(name=name)])
        try:
            answer = await client.admin.CreateTopics(request, timeout=CALL_SECONDS)
        except grpc.RpcError:
            continue  # nobody knows, or it was not: it may be there or not
        if not answer.results[0].HasField("error"):
            ledger.take(name, answer.metadata_version)
        await asyncio.sleep(PAUSE_SECONDS)


@asynccontextmanager
async def writing(client: Client) -> AsyncIterator[Ledger]:
    """A writer at work."""
    ledger = Ledger()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(write(client, ledger), name="writer")
        await ledger.grows_by(3)
        yield ledger
        task.cancel()


async def check(client: Client, ledger: Ledger) -> None:
    """Everything acknowledged is there; nothing else is; versions have only grown."""
    found: list[str] = []
    token = ""
    while True:
        request = admin_pb2.ListTopicsRequest(page_token=token)
        answer = await client.admin.ListTopics(request, timeout=10)
        found += [topic.name for topic in answer.topics]
        token = answer.next_page_token
        if not token:
            break
    assert set(ledger.acknowledged) <= set(found), "acknowledged, and lost"
    assert set(found) <= set(ledger.asked), "nobody asked for it"
    assert ledger.versions == sorted(ledger.versions)
