"""Lag of the event loop is measured and reported."""

from __future__ import annotations

import asyncio

from structlog.testing import capture_logs

from kit.clock import ManualClock, settle
from ottla_runtime.loop_lag import LoopLagWatch


async def test_another_lag_to_warn_of_holds_from_the_next_look_on() -> None:
    clock = ManualClock()
    watch = LoopLagWatch(clock=clock, lag_max_ms=10_000)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(watch.run(), name="watch")
            await settle()
            clock.tick(1_500)
            await settle()
            watch.lag_max_ms = 100
            clock.tick(1_500)
            await settle()
            task.cancel()
    assert [line["lag_ms"] for line in lines] == [1_000]


async def test_waking_late_is_logged_with_how_late() -> None:
    clock = ManualClock()
    watch = LoopLagWatch(clock=clock, lag_max_ms=100)
    with capture_logs() as lines:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(watch.run(), name="watch")
            await settle()
            clock.tick(600)
            await settle()
            assert watch.last_lag_ms == 100
            clock.tick(1_700)
            await settle()
            assert watch.last_lag_ms == 1_200
            task.cancel()
    assert [(line["event"], line["lag_ms"]) for line in lines] == [("event_loop.lagged", 1_200)]
