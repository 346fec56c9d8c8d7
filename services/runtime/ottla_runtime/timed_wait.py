"""Work that is waited for, but not past a moment, by the service's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from ottla_runtime.clock import Clock


async def done_by(work: Coroutine[Any, Any, object], *, deadline_ms: int, clock: Clock) -> bool:
    """Run `work` no longer than to a monotonic time; False if it was cut off.

    Raises what `work` does: as it is, for a group around it would hide its text from the log.
    """
    try:
        async with asyncio.TaskGroup() as group:
            timer = group.create_task(clock.sleep_until(deadline_ms), name="deadline")
            working = group.create_task(work, name="timed-work")
            timer.add_done_callback(lambda _: working.cancel())
            working.add_done_callback(lambda _: timer.cancel())
    except ExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return not working.cancelled()
