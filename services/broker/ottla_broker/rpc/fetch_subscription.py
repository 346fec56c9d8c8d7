"""One subscription of a fetch session: where it stands, and its wait for more.

    begin: located, start found ─► Subscribed ─► ready ◄──────────── data is there
                                                   │ read to the end      ▲
                                                   └────► waiting ────────┘

Owns a partition's position in one session and the task that waits for it. Sending is the
session's, one message of one subscription at a time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.errors import NotLeader, OffsetOutOfRange, OttlaError, StaleLeaderEpoch
from ottla_broker.replica.partition import Partition as Replica
from ottla_broker.rpc.fetch_messages import ended, place_of, subscribed
from ottla_broker.rpc.forwarded_calls import Forwarded
from ottla_broker.rpc.offset_queries import find_start
from ottla_broker.rpc.partition_router import Local, PartitionRouter, Remote
from ottla_broker.rpc.read_plan import AtOffset
from ottla_broker.rpc.session_errors import restated

_DIRECT = Forwarded(by_broker=False, min_version=None)


@dataclass(frozen=True, slots=True)
class SubscriptionLinks:
    """What a subscription tells its session."""

    say: Callable[[fetch_pb2.FetchResponse], None]
    """Send an event before anything else."""
    ready: Callable[[int], None]
    """The subscription of this id may have data to send."""
    over: Callable[[int], None]
    """The subscription of this id ended by itself."""


class Subscription:
    """`follow` is its task."""

    def __init__(self, request: fetch_pb2.Subscribe, *, links: SubscriptionLinks) -> None:
        self.subscription_id = request.subscription_id
        self.request = request
        self.is_paused = False
        self.has_begun = False
        """Whether its start is found, so that there is somewhere to read from."""
        self.next_offset = 0
        self.where: Local | None = None
        self.task: asyncio.Task[None] | None = None
        self._links = links
        self._drained = asyncio.Event()

    @property
    def replica(self) -> Replica:
        """The partition; once the subscription has begun."""
        assert self.where is not None
        return self.where.replica

    def drained(self) -> None:
        """Everything there was is sent."""
        self._drained.set()

    async def follow(self, router: PartitionRouter) -> None:
        """Begin, then say `ready` whenever there is something to send. Ends with an error only."""
        try:
            self.where = await self._located(router)
            self.next_offset = await self._start()
            self.has_begun = True
            self._links.say(
                subscribed(self.subscription_id, self.replica, next_offset=self.next_offset)
            )
            while True:
                await self.replica.wait_for(self.next_offset, on_ready=self._ready)
                await self._drained.wait()
        except OttlaError as error:
            self.fail(error, router)

    def _ready(self) -> None:
        self._drained.clear()
        self._links.ready(self.subscription_id)

    def fail(self, error: OttlaError, router: PartitionRouter) -> None:
        """End with an error, which names the partition and, where it helps, its leader."""
        request = self.request
        if self.where is not None:
            error = router.naming_leader(error, self.where.view)
        named = restated(error, topic=request.topic, partition=request.partition)
        self._links.say(ended(self.subscription_id, named))
        self._links.over(self.subscription_id)

    async def _located(self, router: PartitionRouter) -> Local:
        request = self.request
        entry = router.topic(request.topic, request.topic_id)
        where = await router.locate(entry, request.partition, forwarded=_DIRECT)
        if isinstance(where, Remote):
            error = NotLeader(f"this broker does not lead {request.topic}-{request.partition}")
            raise router.naming_leader(error, where.view)
        current = where.replica.leader_epoch
        if request.HasField("leader_epoch") and request.leader_epoch != current:
            stale = StaleLeaderEpoch(f"leader epoch {request.leader_epoch} is not {current}")
            raise router.naming_leader(stale, where.view)
        return where

    async def _start(self) -> int:
        request, replica = self.request, self.replica
        place = place_of(request.start)
        if isinstance(place, AtOffset) and request.HasField("last_read_leader_epoch"):
            replica.check_last_read(place.offset, last_read_epoch=request.last_read_leader_epoch)
        start = await find_start(replica, place)
        first, end = replica.log_start_offset, replica.log_end_offset
        if not first <= start <= end:
            raise OffsetOutOfRange(
                f"offset {start} is not within {first} to {end}",
                metadata={"earliest_offset": first, "latest_offset": replica.high_watermark},
            )
        return start
