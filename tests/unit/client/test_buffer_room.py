"""Room in a producer's buffer comes to those who wait, in order and to as many as it holds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from ottla.client.buffer_room import BufferRoom


@dataclass
class Buffer:
    """A buffer that counts how often somebody asked whether there is room."""

    free: int = 0
    asked_count: int = 0
    took: list[str] = field(default_factory=list)

    def has_room(self, size: int) -> bool:
        self.asked_count += 1
        return size <= self.free

    async def take(self, room: BufferRoom, name: str, size: int, *, within: float = 30) -> None:
        await room.wait_for(size, deadline=asyncio.get_running_loop().time() + within)
        self.took.append(name)
        self.free -= size


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_room_goes_to_those_who_have_waited_longest_and_to_no_more_than_fit() -> None:
    buffer = Buffer()
    room = BufferRoom(buffer.has_room)
    async with asyncio.TaskGroup() as group:
        for name in "abcd":
            group.create_task(buffer.take(room, name, 10))
        await turns()
        buffer.free = 25
        room.wake()
        await turns()
        assert buffer.took == ["a", "b"]
        buffer.free = 20
        room.wake()
    assert buffer.took == ["a", "b", "c", "d"]


async def test_who_finds_its_room_taken_keeps_its_place() -> None:
    buffer = Buffer()
    room = BufferRoom(buffer.has_room)
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(buffer.take(room, name, 10))
        await turns()
        buffer.free = 20
        room.wake()
        buffer.free = 0  # a sender that never waited was faster
        await turns()
        assert buffer.took == []
        buffer.free = 10
        room.wake()
        await turns()
        assert buffer.took == ["a"]
        buffer.free = 20
        room.wake()
    assert buffer.took == ["a", "b", "c"]


async def test_room_promised_to_one_that_gives_up_is_for_the_next() -> None:
    buffer = Buffer()
    room = BufferRoom(buffer.has_room)
    async with asyncio.TaskGroup() as group:
        first = group.create_task(buffer.take(room, "a", 10))
        group.create_task(buffer.take(room, "b", 10))
        await turns()
        buffer.free = 10
        room.wake()
        first.cancel()
    assert buffer.took == ["b"]


async def test_without_room_until_the_deadline_time_is_out() -> None:
    buffer = Buffer()
    room = BufferRoom(buffer.has_room)
    with pytest.raises(TimeoutError):
        await buffer.take(room, "a", 10, within=0.01)
    buffer.free = 10
    await buffer.take(room, "b", 10)
    assert buffer.took == ["b"]


async def test_nobody_waits_in_a_producer_that_is_closed() -> None:
    buffer = Buffer()
    room = BufferRoom(buffer.has_room)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(buffer.take(room, "a", 10))
        await turns()
        room.close()
    assert waiting.done()
    await buffer.take(room, "b", 10)


async def test_a_batch_that_is_done_costs_the_same_however_many_wait() -> None:
    buffer = Buffer()
    room = BufferRoom(buffer.has_room)
    async with asyncio.TaskGroup() as group:
        for number in range(1_000):
            group.create_task(buffer.take(room, str(number), 10))
        await turns()
        for _ in range(100):
            buffer.asked_count = 0
            buffer.free = 100
            room.wake()
            await turns()
            assert buffer.asked_count <= 10 + 1 + 10
