"""The fetch session with one broker: requests written by one task, messages read by another.

    commands ─► write ──► broker
    messages, credit taken ◄── read ◄──┘      credit given back as records are consumed

Owns one broker's Fetch stream through breaks, and its credit. What is subscribed, and what comes
of it, is the owner's to decide.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Protocol, cast

import grpc

from ottla.api.fetch.v1 import fetch_pb2
from ottla.client.clock import Clock
from ottla.client.core.addresses import Address
from ottla.client.core.fetch_wire import FETCH_METHOD, FetchedMessage, parse_response
from ottla.client.core.retries import Backoff
from ottla.client.failures import expected_error, stream_error
from ottla.client.liveness import Liveness
from ottla.client.rpc_errors import TransportFailed
from ottla.protocol.errors import OttlaError

IDLE_MS: Final = 300_000
"""A session without any subscription is closed after so long."""
_HEARTBEAT = fetch_pb2.FetchRequest(heartbeat=fetch_pb2.Heartbeat())

Stream = grpc.aio.StreamStreamCall[Any, Any]


@dataclass(frozen=True, slots=True)
class FetchTerms:
    """What all fetch links of one consumer have in common; sizes in bytes."""

    isolation: fetch_pb2.Isolation.ValueType
    rack: str
    message_size_max: int
    credit_size: int
    open_channel: Callable[[Address], grpc.aio.Channel]
    backoff: Backoff
    clock: Clock
    chance: random.Random


class FetchOwner(Protocol):
    """What a link tells its consumer."""

    def session_began(self, node_id: int) -> None:
        """A new session: nothing is subscribed in it yet."""
        ...

    def received(
        self, node_id: int, message: FetchedMessage, release: Callable[[int], None]
    ) -> None:
        """A message came; `release` gives the credit of one with batches back, once."""
        ...

    def session_broke(self, node_id: int, error: OttlaError) -> None:
        """The session is over, with all its subscriptions."""
        ...


class FetchLink:
    """`run` is its task; everything else is called on the same loop."""

    def __init__(
        self, node_id: int, address: Address, *, owner: FetchOwner, terms: FetchTerms
    ) -> None:
        self.node_id = node_id
        self.address = address
        self.is_open = False
        """Requests reach a session; what they subscribe lives as long as it does."""
        self._owner = owner
        self._terms = terms
        self._requests: deque[fetch_pb2.FetchRequest] = deque()
        self._subscribed: set[int] = set()
        self._is_done_writing = False
        self._wake = asyncio.Event()
        self._wanted = asyncio.Event()
        self._returned_size = 0
        self._session_number = 0
        self._failure_count = 0

    def want(self) -> None:
        """Open a session, if there is none."""
        self._wanted.set()

    def request(self, request: fetch_pb2.FetchRequest) -> None:
        """Send a request in the session that is open."""
        assert self.is_open
        if request.HasField("subscribe"):
            self._subscribed.add(request.subscribe.subscription_id)
        self._subscribed.difference_update(request.unsubscribe.subscription_ids)
        self._requests.append(request)
        self._wake.set()

    async def run(self) -> None:
        """Hold sessions for as long as the consumer lives and wants one."""
        terms = self._terms
        while True:
            await self._wanted.wait()
            self._wanted.clear()
            error = await self._session()
            if error is None:
                continue
            self._failure_count += 1
            self._owner.session_broke(self.node_id, error)
            wait_ms = terms.backoff.wait_ms(self._failure_count, chance=terms.chance.random())
            await terms.clock.sleep_until(terms.clock.monotonic_ms() + wait_ms)

    async def _session(self) -> OttlaError | None:
        """One stream from its opening to its end; None if nothing was subscribed for long."""
        async with self._terms.open_channel(self.address) as channel:
            call: Stream = channel.stream_stream(
                FETCH_METHOD, request_serializer=fetch_pb2.FetchRequest.SerializeToString
            )()
            self._session_number += 1
            self._returned_size = 0
            self._subscribed.clear()
            self._is_done_writing = False
            liveness = Liveness(self._wake, stream="Fetch")
            try:
                async with asyncio.TaskGroup() as group:
                    reading = group.create_task(
                        self._read(call, liveness), name="ottla-fetch-messages"
                    )
                    watching = group.create_task(liveness.watch(), name="ottla-fetch-liveness")
                    await self._write(call, liveness)
                    await reading
                    watching.cancel()
            except BaseExceptionGroup as failures:
                return expected_error(failures)
            finally:
                self.is_open = False
                self._requests.clear()
                call.cancel()
        return None

    async def _write(self, call: Stream, liveness: Liveness) -> None:
        terms = self._terms
        opening = fetch_pb2.OpenSession(
            isolation=terms.isolation,
            rack=terms.rack,
            message_size_max_bytes=terms.message_size_max,
        )
        credit = fetch_pb2.GrantCredit(size_bytes=terms.credit_size)
        await _write_to(call, fetch_pb2.FetchRequest(open=opening))
        await _write_to(call, fetch_pb2.FetchRequest(credit=credit))
        self.is_open = True
        self._owner.session_began(self.node_id)
        idle_since_ms = terms.clock.monotonic_ms()
        while True:
            now_ms = terms.clock.monotonic_ms()
            if self._subscribed or self._requests:
                idle_since_ms = now_ms
            elif now_ms - idle_since_ms >= IDLE_MS:
                self.is_open, self._is_done_writing = False, True
                await call.done_writing()
                return
            if self._requests or liveness.owes_heartbeat:
                liveness.said()
                await _write_to(call, self._requests.popleft() if self._requests else _HEARTBEAT)
                continue
            self._wake.clear()
            await self._wake.wait()

    async def _read(self, call: Stream, liveness: Liveness) -> None:
        release = self._releaser()
        while (raw := await call.read()) is not grpc.aio.EOF:
            liveness.heard()
            self._failure_count = 0
            message = parse_response(cast("bytes", raw))
            if message.fields.HasField("ended"):
                self._subscribed.discard(message.fields.subscription_id)
            self._owner.received(self.node_id, message, release)
        code = await call.code()
        if code is grpc.StatusCode.OK:
            if self._is_done_writing:
                return
            raise TransportFailed("the broker ended the fetch session")
        raise stream_error(
            grpc.aio.AioRpcError(
                code,
                await call.initial_metadata(),
                await call.trailing_metadata(),
                details=await call.details(),
            )
        )

    def _releaser(self) -> Callable[[int], None]:
        """Gives credit back to this session, never to a later one."""
        number = self._session_number

        def release(size: int) -> None:
            if number == self._session_number and self.is_open:
                self._give_back(size)

        return release

    def _give_back(self, size: int) -> None:
        """Grant in portions: not a request for every small message."""
        self._returned_size += size
        if self._returned_size * 8 >= self._terms.credit_size:
            credit = fetch_pb2.GrantCredit(size_bytes=self._returned_size)
            self._returned_size = 0
            self.request(fetch_pb2.FetchRequest(credit=credit))


async def _write_to(call: Stream, request: fetch_pb2.FetchRequest) -> None:
    """Write to the stream.

    Raises:
        TransportFailed: the stream is over; its reader knows why.
    """
    try:
        await call.write(request)
    except asyncio.InvalidStateError:
        raise TransportFailed("the fetch session is over") from None
