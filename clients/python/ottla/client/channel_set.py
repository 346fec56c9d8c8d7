"""Channels to the addresses a client knows, one of them preferred at a time.

Owns when they are opened and closed, and moving on when the preferred one fails; how they are
opened is `channels`'. One that is not used for long is closed until the next call (gRPC's own
time-out for that works once a channel). Used by the tasks of one event loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Self

import grpc

from ottla.client.channels import open_channel
from ottla.client.clock import Clock
from ottla.client.core.addresses import Address
from ottla.protocol.errors import InvalidRequest

IDLE_MS: Final = 300_000
"""A connection without calls is closed after so long."""


@dataclass(slots=True)
class _Opened:
    channel: grpc.aio.Channel
    call_count: int = 0
    idle_since_ms: int | None = None
    """None while it is used, and until somebody looks."""


class ChannelSet:
    """One channel an address, opened when first preferred, closed with the set."""

    def __init__(
        self,
        addresses: Iterable[Address],
        *,
        opener: Callable[[Address], grpc.aio.Channel] = open_channel,
    ) -> None:
        self._opener = opener
        self._addresses = tuple(addresses)
        assert self._addresses, "a client knows at least one address"
        self._opened: dict[Address, _Opened] = {}
        self._preferred = 0
        self._is_closed = False

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._is_closed = True
        opened, self._opened = self._opened, {}
        for each in opened.values():
            await each.channel.close()

    @property
    def addresses(self) -> tuple[Address, ...]:
        """Every address, in the order they are tried."""
        return self._addresses

    def preferred(self) -> tuple[Address, grpc.aio.Channel]:
        """The address to call now, and its channel, for a moment. Raises InvalidRequest."""
        address = self._addresses[self._preferred]
        return address, self._open(address).channel

    @contextmanager
    def calling(self) -> Iterator[tuple[Address, grpc.aio.Channel]]:
        """The same, for as long as a call takes.

        Raises:
            InvalidRequest: the set is closed, or was closed during the call.
        """
        address = self._addresses[self._preferred]
        opened = self._open(address)
        opened.call_count += 1
        try:
            yield address, opened.channel
        except asyncio.CancelledError:
            # gRPC says so of a call whose channel is closed, too, to a task that nobody cancelled.
            if self._is_closed and not _is_cancelled():
                raise InvalidRequest("the client was closed during the call") from None
            raise
        finally:
            opened.call_count -= 1

    def _open(self, address: Address) -> _Opened:
        if self._is_closed:
            raise InvalidRequest("the client is closed")
        opened = self._opened.get(address)
        if opened is None:
            opened = self._opened[address] = _Opened(self._opener(address))
        opened.idle_since_ms = None
        return opened

    async def close_idle(self, clock: Clock) -> None:
        """Close what is not used for long, again and again."""
        while True:
            now_ms = clock.monotonic_ms()
            for address, opened in list(self._opened.items()):
                if opened.call_count:
                    opened.idle_since_ms = None
                elif opened.idle_since_ms is None:
                    opened.idle_since_ms = now_ms
                elif now_ms - opened.idle_since_ms >= IDLE_MS:
                    del self._opened[address]
                    await opened.channel.close()
            await clock.sleep_until(now_ms + IDLE_MS // 2)

    def failed(self, address: Address) -> bool:
        """Prefer the next address, if `address` is still the preferred one.

        Returns:
            Whether every address has had its turn, so that it is time to wait.
        """
        if self._addresses[self._preferred] != address:
            return False  # another call saw it first and moved on
        self._preferred = (self._preferred + 1) % len(self._addresses)
        return self._preferred == 0


def _is_cancelled() -> bool:
    """Whether somebody wants the running task to end."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
