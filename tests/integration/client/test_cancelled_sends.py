"""`send` cancelled at each point where it waits: the record is queued then, or it never is."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Callable, Coroutine, Generator
from pathlib import Path
from typing import Any, TypeVar

import pytest
from integration.client.arrangement import stored
from integration.client.streaming_broker import cluster

import ottla.testing
from ottla.client.consumer import Consumer
from ottla.client.deliveries import Delivery
from ottla.client.producer import Producer

R = TypeVar("R")

POINTS_MAX = 20


class NeverWaitedThatLongError(Exception):
    """The call came to its end before the point where it was to be cancelled."""


@types.coroutine
def cancelled_at(point: int, call: Coroutine[Any, Any, R]) -> Generator[Any, Any, None]:
    """Let a call wait so many times, and cancel it where it would wait once more.

    Raises:
        NeverWaitedThatLongError: it returned before.
    """
    steps = call.__await__()
    try:
        for _ in range(point):
            yield next(steps)
        next(steps)
    except StopIteration:
        raise NeverWaitedThatLongError from None
    with pytest.raises(asyncio.CancelledError):
        steps.throw(asyncio.CancelledError())


async def cancelled_everywhere(
    producer: Producer[bytes, bytes], send: Callable[[int], Coroutine[Any, Any, Delivery]]
) -> int:
    """Cancel at the first point, the second, … until a call gets through; returns how many."""
    held = producer._sending.accumulator
    for point in range(POINTS_MAX):
        before = held.record_count, held.used_size
        try:
            await cancelled_at(point, send(point))
        except NeverWaitedThatLongError:
            return point
        assert (held.record_count, held.used_size) == before
    raise AssertionError("it never gets through")


async def test_while_its_turn_and_metadata_are_waited_for() -> None:
    topics = {f"topic-{number}": 1 for number in range(20)}
    async with ottla.testing.cluster(topics=topics) as cluster:
        names = list(topics)
        async with Producer(cluster.bootstrap) as producer:

            async def send(point: int) -> Delivery:
                producer._check_next()
                return await producer.send(names[point], b"v")  # not known yet, each time

            points = await cancelled_everywhere(producer, send)
            assert points >= 2
            assert producer._sending.accumulator.record_count == 1
        found = [await stored(cluster.bootstrap, name) for name in names[: points + 1]]
        assert found == [[]] * points + [[b"v"]]


async def test_while_its_turn_and_room_are_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with cluster(tmp_path, monkeypatch) as broker:
        broker.controller.create_topic("leaderless", leader_id=None)
        address = f"127.0.0.1:{broker.port}"
        async with Consumer(address) as follower:
            await follower.assign(["leaderless"])  # it is visible then
        async with Producer(address, buffer_bytes=4_000, batch_bytes_max=2_000) as producer:
            while producer._sending.accumulator.has_room(1_450):
                _ = await producer.send("leaderless", b"f" * 1_400)
            filler_count = producer._sending.accumulator.record_count

            async def send(point: int) -> Delivery:
                producer._check_next()
                if point >= 2:  # its turn, and room: both have been cancelled at
                    broker.controller.move_leader("leaderless", 0, leader_id=1)
                return await producer.send("leaderless", b"r" * 1_400)

            assert await cancelled_everywhere(producer, send) == 2
            await producer.flush()
        found = await stored(address, "leaderless")
        assert found == [b"f" * 1_400] * filler_count + [b"r" * 1_400]
