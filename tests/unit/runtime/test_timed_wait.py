"""Work that is waited for no longer than to a moment."""

from __future__ import annotations

import asyncio

import pytest

from kit.clock import ManualClock
from ottla.protocol.errors import OutcomeUnknown
from ottla_runtime.timed_wait import done_by


async def test_work_that_is_done_in_time_is_said_to_be() -> None:
    done = asyncio.Event()
    done.set()
    assert await done_by(done.wait(), deadline_ms=10**9, clock=ManualClock())


async def test_work_is_cut_off_at_its_time() -> None:
    clock = ManualClock()
    assert not await done_by(asyncio.Event().wait(), deadline_ms=clock.monotonic_ms(), clock=clock)


async def test_what_work_fails_with_is_raised_as_it_is() -> None:
    async def failing() -> None:
        raise OutcomeUnknown("the metadata store was restored meanwhile")

    with pytest.raises(OutcomeUnknown, match="restored meanwhile"):
        await done_by(failing(), deadline_ms=10**9, clock=ManualClock())
