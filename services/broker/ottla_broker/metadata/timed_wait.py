"""Waiting for an event, but not past a moment, by the service's own clock."""

from __future__ import annotations

import asyncio

from ottla_runtime.clock import Clock


async def wait_until(event: asyncio.Event, *, deadline_ms: int, clock: Clock) -> bool:
    """Return when `event` is set or the monotonic `deadline_ms` has come; True if it is set."""
    if not event.is_set():
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(clock.sleep_until(deadline_ms), name="deadline")
            waiter = group.create_task(event.wait(), name="event")
            timer.add_done_callback(lambda _: waiter.cancel())
            waiter.add_done_callback(lambda _: timer.cancel())
    return event.is_set()
