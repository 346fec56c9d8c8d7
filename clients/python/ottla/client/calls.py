"""Calling a cluster until a deadline: which broker, how often, how long between tries.

Owns `Caller`, which repeats a call while its errors say so, moves on from a broker that does not
answer, and gives up early where waiting is of no use: when no broker was ever reached, and when a
topic stays unknown. A write whose outcome is unknown is repeated too, so a duplicate is possible.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import grpc

from ottla.client.channel_set import ChannelSet
from ottla.client.clock import Clock
from ottla.client.core.addresses import Address
from ottla.client.rpc_errors import TransportFailed, Unreachable, error_of
from ottla.protocol.errors import OttlaError, UnknownTopicOrPartition

_Result = TypeVar("_Result")
Attempt = Callable[[grpc.aio.Channel, float], Awaitable[_Result]]

_DOUBLINGS_MAX = 30


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a client goes on trying, in milliseconds."""

    call_ms: int = 30_000
    """From the first try to the last answer."""
    first_contact_ms: int = 3_000
    """While no broker has answered anything yet."""
    unknown_topic_ms: int = 2_000
    """While brokers do not know a topic, which may have been created a moment ago."""
    backoff_first_ms: int = 50
    backoff_longest_ms: int = 2_000


class Tries:
    """The bookkeeping of one call that is repeated: asked after each failure whether to go on."""

    def __init__(
        self, channels: ChannelSet, *, patience: Patience, clock: Clock, chance: random.Random
    ) -> None:
        self._channels = channels
        self._patience = patience
        self._clock = clock
        self._chance = chance
        self._failure_count = 0
        self._started_ms: int | None = clock.monotonic_ms()

    def succeeded(self) -> None:
        """Begin anew with the next failure: a stream may run for days before it breaks."""
        self._failure_count = 0
        self._started_ms = None

    def left_ms(self) -> int:
        """Time left for the call."""
        return self._patience.call_ms - self._elapsed_ms()

    def _elapsed_ms(self) -> int:
        now_ms = self._clock.monotonic_ms()
        if self._started_ms is None:
            self._started_ms = now_ms
        return now_ms - self._started_ms

    async def again_after(self, error: OttlaError, address: Address, *, answered: bool) -> None:
        """Wait as long as is right after `error`, or raise what ends the call.

        Args:
            error: what the last try failed with.
            address: where it was made.
            answered: whether any broker has ever answered this client.
        """
        if not error.retriable:
            raise error
        is_round_over = True
        if isinstance(error, TransportFailed):
            is_round_over = self._channels.failed(address)
        elapsed_ms = self._elapsed_ms()
        bound_ms = self._bound_ms(error, answered=answered)
        if is_round_over:
            self._failure_count += 1
            wait_ms = max(self._wait_ms(), error.retry_after_ms or 0)
        else:
            wait_ms = 0
        if elapsed_ms + wait_ms >= bound_ms:
            raise self._final(error, answered=answered)
        await self._clock.sleep_until(self._clock.monotonic_ms() + wait_ms)

    def _bound_ms(self, error: OttlaError, *, answered: bool) -> int:
        patience = self._patience
        if isinstance(error, TransportFailed) and not answered:
            return min(patience.first_contact_ms, patience.call_ms)
        if isinstance(error, UnknownTopicOrPartition):
            return min(patience.unknown_topic_ms, patience.call_ms)
        return patience.call_ms

    def _wait_ms(self) -> int:
        doublings = min(self._failure_count - 1, _DOUBLINGS_MAX)
        bound_ms = min(
            self._patience.backoff_longest_ms, self._patience.backoff_first_ms * 2**doublings
        )
        return max(1, int(bound_ms * self._chance.random()))

    def _final(self, error: OttlaError, *, answered: bool) -> OttlaError:
        if not isinstance(error, TransportFailed) or answered:
            return error
        tried = ", ".join(map(str, self._channels.addresses))
        return Unreachable(f"no broker answers at {tried}: {_reason(error.message)}")


def _reason(message: str) -> str:
    """The part of gRPC's text about a failed connection that says why."""
    is_long = message.startswith("failed to connect to all addresses")
    return message.rpartition(": ")[2] if is_long else message


class Caller:
    """Calls brokers on behalf of one client. Used by the tasks of one event loop."""

    def __init__(
        self, channels: ChannelSet, *, patience: Patience, clock: Clock, chance: random.Random
    ) -> None:
        self._channels = channels
        self._patience = patience
        self._clock = clock
        self._chance = chance
        self._answered = False

    @property
    def answered(self) -> bool:
        """Whether any broker has ever answered."""
        return self._answered

    def mark_answered(self) -> None:
        """A broker answered on a stream."""
        self._answered = True

    def preferred(self) -> tuple[Address, grpc.aio.Channel]:
        """The broker to open a stream to now."""
        return self._channels.preferred()

    def tries(self) -> Tries:
        """The bookkeeping of a new call or stream."""
        return Tries(
            self._channels, patience=self._patience, clock=self._clock, chance=self._chance
        )

    async def call(self, attempt: Attempt[_Result]) -> _Result:
        """The answer of a unary call, tried until it is final.

        Args:
            attempt: makes the call on a channel with a timeout in seconds.

        Raises:
            OttlaError: the call failed for good, or no time was left for another try.
        """
        tries = self.tries()
        while True:
            try:
                with self._channels.calling() as (address, channel):
                    result = await attempt(channel, max(1, tries.left_ms()) / 1_000)
            except grpc.RpcError as failed:
                error = error_of(failed)
            except OttlaError as failed:
                error = failed
            else:
                self._answered = True
                return result
            if not isinstance(error, TransportFailed):
                self._answered = True
            await tries.again_after(error, address, answered=self._answered)
