"""The contract of `Clock`, held by the machine's clock and by the one for tests."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kit.clock import ManualClock, settle
from ottla_runtime.clock import Clock, SystemClock

Pass = Callable[[int], Awaitable[None]]


async def _as_time_does(ms: int) -> None:
    """The machine's time needs nobody to move it."""


@pytest.fixture(params=["system", "manual"])
def clock_and_pass(request: pytest.FixtureRequest) -> tuple[Clock, Pass]:
    if request.param == "system":
        return SystemClock(), _as_time_does
    manual = ManualClock()
    return manual, manual.advance


async def test_sleep_ends_at_its_moment_or_later(clock_and_pass: tuple[Clock, Pass]) -> None:
    clock, pass_time = clock_and_pass
    due_ms = clock.monotonic_ms() + 2
    async with asyncio.TaskGroup() as group:
        sleeper = group.create_task(clock.sleep_until(due_ms), name="task")
        await pass_time(2)
        await sleeper
        assert clock.monotonic_ms() >= due_ms


async def test_sleep_until_the_past_lets_others_run(clock_and_pass: tuple[Clock, Pass]) -> None:
    clock, _ = clock_and_pass
    seen = []

    async def other() -> None:
        seen.append("other")

    async with asyncio.TaskGroup() as group:
        group.create_task(other(), name="task")
        await clock.sleep_until(clock.monotonic_ms() - 10)
        seen.append("sleeper")
    assert seen == ["other", "sleeper"]


async def test_times_are_whole_milliseconds_and_monotonic_time_never_goes_back(
    clock_and_pass: tuple[Clock, Pass],
) -> None:
    clock, pass_time = clock_and_pass
    readings = [clock.monotonic_ms()]
    for _ in range(5):
        await pass_time(1)
        readings.append(clock.monotonic_ms())
    assert readings == sorted(readings)
    assert all(isinstance(reading, int) for reading in readings)
    assert clock.wall_ms() > 1_600_000_000_000


async def test_cancelled_sleep_raises(clock_and_pass: tuple[Clock, Pass]) -> None:
    clock, _ = clock_and_pass
    async with asyncio.TaskGroup() as group:
        sleeper = group.create_task(clock.sleep_until(clock.monotonic_ms() + 60_000), name="task")
        await settle()
        sleeper.cancel()
    assert sleeper.cancelled()


async def test_manual_clock_wakes_sleepers_in_order_of_their_moments() -> None:
    clock = ManualClock(monotonic_ms=0)
    woken: list[tuple[str, int]] = []

    async def sleep(name: str, until_ms: int) -> None:
        await clock.sleep_until(until_ms)
        woken.append((name, clock.monotonic_ms()))

    async with asyncio.TaskGroup() as group:
        group.create_task(sleep("late", 30), name="task")
        group.create_task(sleep("early", 10), name="task")
        await clock.advance(9)
        assert woken == []
        await clock.advance(31)
    assert woken == [("early", 10), ("late", 30)]
    assert clock.sleeper_count() == 0


async def test_manual_clock_wakes_one_that_sleeps_again_within_one_advance() -> None:
    clock = ManualClock(monotonic_ms=0)
    beats: list[int] = []

    async def beat() -> None:
        for _ in range(3):
            await clock.sleep_until(clock.monotonic_ms() + 10)
            beats.append(clock.monotonic_ms())

    async with asyncio.TaskGroup() as group:
        group.create_task(beat(), name="task")
        await clock.advance(100)
    assert beats == [10, 20, 30]


def test_manual_wall_clock_jumps_alone() -> None:
    clock = ManualClock(monotonic_ms=5, wall_ms=1_000)
    clock.jump_wall(-400)
    assert (clock.monotonic_ms(), clock.wall_ms()) == (5, 600)
