"""A fetch session: many partitions pushed over one stream, held back by credit in bytes.

    requests ─► subscriptions ─► ready ones, in turns ─► read ─► message ─► stream
                                      ▲ credit                    │
                                      └────── balance - size ◄────┘

Credit counts the bytes of messages that carry batches, whole messages, by their size on the wire
without gRPC's prefix; others are free. A message is sent while the balance is above zero.

Owns the session and its bounds. Wire it up in a coroutine:
`await sessions.serve(requests, context)`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from typing import Any, Final

import grpc

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.errors import (
    Draining,
    InvalidRequest,
    OttlaError,
    Throttled,
    UnsupportedVersion,
)
from ottla_broker.core.fetch_credit import CreditLedger, Turns
from ottla_broker.rpc.fetch_messages import HEARTBEAT, batches_message, check_new_id, ended
from ottla_broker.rpc.fetch_subscription import Subscription, SubscriptionLinks
from ottla_broker.rpc.partition_router import PartitionRouter
from ottla_broker.rpc.read_plan import check_isolation
from ottla_broker.rpc.session_errors import raise_expected
from ottla_runtime.clock import Clock

SUBSCRIPTIONS_MAX: Final = 20_000
EVENTS_MAX: Final = 10_000
MESSAGE_SIZE_MAX: Final = 1 << 20

Context = grpc.aio.ServicerContext[Any, Any]


class FetchSessions:
    """All fetch sessions of a listener."""

    def __init__(self, router: PartitionRouter, *, clock: Clock, idle_ms: int) -> None:
        self._router = router
        self._clock = clock
        self._idle_ms = idle_ms
        self._sessions: set[_Session] = set()
        self._is_draining = False

    async def serve(
        self, requests: AsyncIterator[fetch_pb2.FetchRequest], context: Context
    ) -> None:
        """Serve one session to its end.

        Raises:
            InvalidRequest: the client broke the session's rules.
            UnsupportedVersion: it asked for what this version doesn't know.
            Draining: the broker is to stop.
        """
        session = _Session(self._router, context, clock=self._clock, idle_ms=self._idle_ms)
        self._sessions.add(session)
        try:
            if self._is_draining:
                session.drain()
            await session.run(requests)
        finally:
            self._sessions.discard(session)

    def drain(self) -> None:
        """End all sessions, and those that begin."""
        self._is_draining = True
        for session in self._sessions:
            session.drain()


class _RequestsEnded(Exception):  # noqa: N818 - an event, not an error: the client has left
    pass


class _Session:
    def __init__(
        self, router: PartitionRouter, context: Context, *, clock: Clock, idle_ms: int
    ) -> None:
        self._router = router
        self._context = context
        self._clock = clock
        self._idle_ms = idle_ms
        self._subscriptions: dict[int, Subscription] = {}
        self._ledger = CreditLedger()
        self._turns = Turns(self._ledger)
        self._events: deque[fetch_pb2.FetchResponse] = deque()
        self._work = asyncio.Event()
        self._events_fewer = asyncio.Event()
        self._message_size_max = MESSAGE_SIZE_MAX
        self._is_open = False
        self._is_draining = False
        self._is_silent = True
        self._links = SubscriptionLinks(say=self._say, ready=self._ready, over=self._over)

    def drain(self) -> None:
        self._is_draining = True
        self._work.set()

    async def run(self, requests: AsyncIterator[fetch_pb2.FetchRequest]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._push(), name="fetch-push")
                group.create_task(self._beat(), name="fetch-heartbeat")
                async for request in requests:
                    await self._receive(request, group)
                raise _RequestsEnded
        except BaseExceptionGroup as failures:
            others = failures.split(_RequestsEnded)[1]
            if others is not None:
                raise_expected(others)

    # Requests

    async def _receive(self, request: fetch_pb2.FetchRequest, group: asyncio.TaskGroup) -> None:
        kind = request.WhichOneof("kind")
        if (kind == "open") == self._is_open:
            raise InvalidRequest("a session is opened first, and once")
        match kind:
            case "open":
                self._open(request.open)
            case "subscribe":
                self._subscribe(request.subscribe, group)
            case "unsubscribe":
                for subscription_id in _bounded(request.unsubscribe.subscription_ids):
                    if self._forget(subscription_id) is not None:
                        self._say(ended(subscription_id))
            case "seek":
                self._seek(request.seek, group)
            case "set_paused":
                self._set_paused(request.set_paused)
            case "credit":
                self._ledger.grant(request.credit.size_bytes)
                self._work.set()
            case "heartbeat":
                pass
            case _:
                raise UnsupportedVersion("this kind of FetchRequest is not known to this server")
        while len(self._events) >= EVENTS_MAX:  # a client that asks without reading
            self._events_fewer.clear()
            await self._events_fewer.wait()

    def _open(self, request: fetch_pb2.OpenSession) -> None:
        check_isolation(request.isolation)
        wanted = request.message_size_max_bytes
        self._message_size_max = min(wanted or MESSAGE_SIZE_MAX, MESSAGE_SIZE_MAX)
        self._is_open = True

    def _subscribe(self, request: fetch_pb2.Subscribe, group: asyncio.TaskGroup) -> None:
        subscription_id = check_new_id(request.subscription_id)
        if subscription_id in self._subscriptions:
            raise InvalidRequest(f"subscription_id {subscription_id} is in use")
        if len(self._subscriptions) >= SUBSCRIPTIONS_MAX:
            error = Throttled(f"a session has at most {SUBSCRIPTIONS_MAX} subscriptions")
            self._say(ended(subscription_id, error))
            return
        subscription = Subscription(request, links=self._links)
        self._subscriptions[subscription_id] = subscription
        subscription.task = group.create_task(
            subscription.follow(self._router), name="fetch-subscription"
        )

    def _seek(self, request: fetch_pb2.Seek, group: asyncio.TaskGroup) -> None:
        new_id = check_new_id(request.new_subscription_id)
        subscription = self._forget(request.subscription_id)
        if subscription is None:
            error = InvalidRequest(f"there is no subscription {request.subscription_id}")
            self._say(ended(new_id, error))
            return
        moved = fetch_pb2.Subscribe()
        moved.CopyFrom(subscription.request)
        moved.subscription_id = new_id
        moved.start.CopyFrom(request.start)
        moved.ClearField("last_read_leader_epoch")
        self._subscribe(moved, group)
        self._subscriptions[new_id].is_paused = subscription.is_paused

    def _set_paused(self, request: fetch_pb2.SetPaused) -> None:
        for subscription_id in _bounded(request.subscription_ids):
            subscription = self._subscriptions.get(subscription_id)
            if subscription is None or subscription.is_paused == request.paused:
                continue
            subscription.is_paused = request.paused
            if request.paused:
                self._turns.remove(subscription_id)
            elif subscription.has_begun:
                self._ready(subscription_id)  # finds out by reading whether there is anything

    # What subscriptions tell

    def _say(self, event: fetch_pb2.FetchResponse) -> None:
        self._events.append(event)
        self._work.set()

    def _ready(self, subscription_id: int) -> None:
        subscription = self._subscriptions.get(subscription_id)
        if subscription is not None and not subscription.is_paused:
            self._turns.add(subscription_id)
            self._work.set()

    def _over(self, subscription_id: int) -> None:
        self._subscriptions.pop(subscription_id, None)
        self._turns.remove(subscription_id)
        self._ledger.left(subscription_id)

    def _forget(self, subscription_id: int) -> Subscription | None:
        subscription = self._subscriptions.pop(subscription_id, None)
        self._turns.remove(subscription_id)
        self._ledger.left(subscription_id)
        if subscription is not None and subscription.task is not None:
            subscription.task.cancel()
        return subscription

    # Pushing

    async def _beat(self) -> None:
        """Look twice as often as a heartbeat is due: cheaper than a time-out around every wait."""
        clock, interval_ms = self._clock, self._idle_ms // 2
        while True:
            self._is_silent = True
            await clock.sleep_until(clock.monotonic_ms() + interval_ms)
            # What waits to be read is sign of life enough.
            if self._is_silent and not self._events:
                self._say(HEARTBEAT)

    async def _push(self) -> None:
        while True:
            if self._is_draining:
                raise Draining("this broker is shutting down; fetch from the next leader")
            self._is_silent = False
            if self._events:
                await self._context.write(self._events.popleft())
                self._events_fewer.set()
                continue
            turn = self._turns.next(subscription_count=len(self._subscriptions))
            if turn is not None:
                await self._send_from(self._subscriptions[turn])
                continue
            self._work.clear()
            await self._work.wait()

    async def _send_from(self, subscription: Subscription) -> None:
        subscription_id, replica = subscription.subscription_id, subscription.replica
        size_max = min(self._message_size_max, self._ledger.balance)
        try:
            part = await replica.read(subscription.next_offset, max_bytes=size_max)
        except OttlaError as error:
            if self._forget(subscription_id) is subscription:
                subscription.fail(error, self._router)
            return
        is_current = self._subscriptions.get(subscription_id) is subscription
        if part is None:
            if is_current:
                self._turns.remove(subscription_id)
                subscription.drained()
            return
        if not is_current or subscription.is_paused:
            part.release()
            return
        subscription.next_offset = part.next_offset
        message = batches_message(subscription_id, replica, part)
        self._ledger.sent(subscription_id, message.size)
        await self._context.write(message)


def _bounded(subscription_ids: Sequence[int]) -> Sequence[int]:
    """The ids of one request. Raises InvalidRequest for more than a session has."""
    if len(subscription_ids) > SUBSCRIPTIONS_MAX:
        raise InvalidRequest(f"a request names at most {SUBSCRIPTIONS_MAX} subscriptions")
    return subscription_ids
