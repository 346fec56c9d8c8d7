"""What one Produce stream may have in flight, answers that wait to be read included."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import AsyncIterator
from typing import Any

from kit.clock import settle
from ottla_broker.rpc.produce_session import IN_FLIGHT_COUNT_MAX, IN_FLIGHT_SIZE_MAX
from unit.broker_sessions.producing import IDLE_MS, Producing, request


async def _taken_by_a_shut_client(test: Producing, messages: list[bytes]) -> int:
    """How many requests are taken of a client that never reads; then it reads all answers."""
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(test.serve(messages))
        await test.at_rest()
        taken_count = test.taken_count
        assert test.client.answers == []
        test.client.open.set()
        await serving
    assert len(test.client.answers) == len(messages)
    return taken_count


async def test_requests_stay_in_flight_until_their_answers_are_written() -> None:
    test = Producing()
    assert await _taken_by_a_shut_client(test, [request()] * 1_500) == IN_FLIGHT_COUNT_MAX + 1
    assert [answer.base_offset for answer in test.client.answers] == list(range(1_500))


async def test_refused_requests_stay_in_flight_until_their_answers_are_written() -> None:
    test = Producing()
    refused = [request(topic="nowhere")] * 1_500
    assert await _taken_by_a_shut_client(test, refused) == IN_FLIGHT_COUNT_MAX + 1
    assert all(answer.HasField("error") for answer in test.client.answers)


async def test_the_size_of_requests_counts_until_their_answers_are_written() -> None:
    test = Producing(max_message_bytes=2 << 20)
    large = request(b"x" * (1 << 20))
    taken_count = await _taken_by_a_shut_client(test, [large] * 50)
    assert taken_count == IN_FLIGHT_SIZE_MAX // (1 << 20) + 1


async def test_all_of_a_request_counts_not_its_batches_alone() -> None:
    test = Producing()
    large = request(topic="x" * (1 << 20))
    taken_count = await _taken_by_a_shut_client(test, [large] * 50)
    assert taken_count == IN_FLIGHT_SIZE_MAX // (1 << 20) + 1
    assert all(len(answer.SerializeToString()) < 1_000 for answer in test.client.answers)


class Message(bytearray):
    """A request that can be watched going."""


async def test_a_shut_lane_holds_on_to_nothing_that_it_refused() -> None:
    test = Producing()
    test.client.open.set()
    context: Any = test.client
    seen: list[weakref.ref[Message]] = []
    is_checked = asyncio.Event()

    async def refused() -> AsyncIterator[memoryview]:
        for number in range(100):
            # Impossible names are lanes of their own, too.
            message = Message(request(topic="nowhere" if number % 2 else "x" * 10_000))
            seen.append(weakref.ref(message))
            yield memoryview(message)
            del message
            await asyncio.sleep(0)
        await is_checked.wait()

    async with asyncio.TaskGroup() as group:
        group.create_task(test.sessions.serve(refused(), context))
        await settle()
        while len(test.client.answers) < 100:
            await settle()
        gc.collect()
        held = [each for each in seen if each() is not None]
        is_checked.set()
    assert len(held) <= 1  # the one that the stream itself still has


async def test_idle_streams_give_signs_of_life_as_often_as_is_set() -> None:
    test = Producing()
    test.client.open.set()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(test.serve_idle())
        await test.clock.advance(IDLE_MS * 10)
        serving.cancel()
    assert all(answer.heartbeat for answer in test.client.answers)
    assert 10 <= len(test.client.answers) <= 20  # looked for twice as often as they are due


async def test_signs_of_life_do_not_gather_for_a_client_that_never_reads() -> None:
    test = Producing()
    async with asyncio.TaskGroup() as group:
        serving = group.create_task(test.serve_idle())
        await test.clock.advance(IDLE_MS * 100)
        test.client.open.set()
        await settle()
        serving.cancel()
    assert len(test.client.answers) == 2  # one in the writing, one that waits
