"""Channels opened when they are needed, and closed when nobody has needed them for long."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
import pytest

from kit.clock import ManualClock
from ottla.client.channel_set import IDLE_MS, ChannelSet
from ottla.client.core.addresses import Address
from ottla.protocol.errors import InvalidRequest

FIRST, SECOND = Address("10.0.0.1", 9092), Address("10.0.0.2", 9092)


class Channel:
    def __init__(self, address: Address) -> None:
        self.address = address
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class Opened:
    """Every channel that was opened, in order."""

    def __init__(self) -> None:
        self.channels: list[Any] = []

    def open(self, address: Address) -> grpc.aio.Channel:
        self.channels.append(Channel(address))
        channel: grpc.aio.Channel = self.channels[-1]
        return channel

    def states(self) -> list[tuple[Address, bool]]:
        return [(each.address, each.is_closed) for each in self.channels]


async def test_a_channel_without_calls_is_closed_until_the_next_one() -> None:
    opened, clock = Opened(), ManualClock()
    async with ChannelSet([FIRST, SECOND], opener=opened.open) as channels:
        async with asyncio.TaskGroup() as group:
            sweeping = group.create_task(channels.close_idle(clock), name="sweeper")
            with channels.calling():
                await clock.advance(3 * IDLE_MS)
                assert opened.states() == [(FIRST, False)]
            await clock.advance(IDLE_MS)
            with channels.calling():
                pass  # a call now and then keeps it
            await clock.advance(IDLE_MS)
            assert opened.states() == [(FIRST, False)]
            await clock.advance(IDLE_MS)
            assert opened.states() == [(FIRST, True)]
            with channels.calling() as (address, channel):
                assert (address, channel) == (FIRST, opened.channels[1])
            sweeping.cancel()
        assert opened.states() == [(FIRST, True), (FIRST, False)]
    assert opened.states() == [(FIRST, True), (FIRST, True)]


async def test_only_what_is_preferred_is_opened_and_the_next_is_when_that_fails() -> None:
    opened = Opened()
    async with ChannelSet([FIRST, SECOND], opener=opened.open) as channels:
        assert channels.preferred()[0] == FIRST
        assert not channels.failed(FIRST)
        assert channels.preferred()[0] == SECOND
        assert not channels.failed(FIRST)  # told before, by another call
        assert channels.failed(SECOND)
        assert channels.preferred() == (FIRST, opened.channels[0])
    assert opened.states() == [(FIRST, True), (SECOND, True)]


async def test_a_closed_set_opens_no_channel_for_a_call_that_is_tried_again() -> None:
    opened = Opened()
    channels = ChannelSet([FIRST], opener=opened.open)
    with channels.calling():
        pass
    await channels.__aexit__(None, None, None)
    with pytest.raises(InvalidRequest, match="closed"), channels.calling():
        raise AssertionError("nothing is called")
    assert opened.states() == [(FIRST, True)]
