"""Many followers of a cluster's metadata in one process: when each has seen a broker change.

`python -m bench.metadata_watcher HOST:PORT,… COUNT`, run by `metadata_bench`. Every follower is a
gRPC stream of its own. Says `{"watching": COUNT}` once all have a snapshot, and then, each time
that all of them have seen a broker fenced or let in, what they saw and when, on the clock that all
processes of a machine share.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from typing import Any

import grpc

from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc

_STREAMS_A_CONNECTION = 100


class _Watchers:
    """Counts who has seen what."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._ready = 0
        self._seen: Counter[tuple[int, bool, int]] = Counter()

    async def follow(self, stub: Any) -> None:
        """One stream, to its end."""
        request = controller_pb2.WatchClusterMetadataRequest()
        async for message in stub.WatchClusterMetadata(request):
            if message.snapshot_complete:
                self._ready += 1
                if self._ready == self._count:
                    _say(watching=self._count)
            elif not message.snapshot_begin:
                for change in message.changes:
                    if change.HasField("broker"):
                        self._note(change.broker, message.version.revision)

    def _note(self, broker: Any, revision: int) -> None:
        seen = (broker.node_id, broker.fenced, revision)
        self._seen[seen] += 1
        if self._seen[seen] == self._count:
            _say(node_id=broker.node_id, fenced=broker.fenced, at=time.monotonic())


def _say(**facts: object) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


async def _watch(addresses: list[str], count: int) -> None:
    watchers = _Watchers(count)
    options = (("grpc.use_local_subchannel_pool", 1),)
    async with asyncio.TaskGroup() as group:
        for first in range(0, count, _STREAMS_A_CONNECTION):
            address = addresses[first // _STREAMS_A_CONNECTION % len(addresses)]
            channel = grpc.aio.insecure_channel(address, options=options)
            stub = controller_pb2_grpc.ControllerServiceStub(channel)
            for number in range(first, min(first + _STREAMS_A_CONNECTION, count)):
                group.create_task(watchers.follow(stub), name=f"watcher-{number}")
        group.create_task(_until_input_ends(), name="input")


async def _until_input_ends() -> None:
    await asyncio.to_thread(sys.stdin.read)
    sys.exit(0)


if __name__ == "__main__":
    asyncio.run(_watch(sys.argv[1].split(","), int(sys.argv[2])))
