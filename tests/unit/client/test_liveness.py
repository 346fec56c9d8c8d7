"""Whether the two ends of a stream still hear each other."""

from __future__ import annotations

import asyncio

import pytest

from ottla.client import liveness
from ottla.client.liveness import Liveness
from ottla.client.rpc_errors import TransportFailed


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(liveness, "HEARTBEAT_SECONDS", 0.01)


async def test_a_broker_that_says_nothing_is_given_up() -> None:
    with pytest.raises(TransportFailed, match="fell silent on Fetch"):
        await Liveness(asyncio.Event(), stream="Fetch").watch()


async def test_a_broker_that_is_heard_is_not_given_up_and_our_silence_owes_a_heartbeat() -> None:
    wake = asyncio.Event()
    one = Liveness(wake, stream="Fetch")
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(one.watch(), name="watch")
        for _ in range(3 * liveness.SILENCE_LOOKS_MAX):
            await wake.wait()
            assert one.owes_heartbeat
            wake.clear()
            one.heard()
            one.said()
            assert not one.owes_heartbeat
        assert not watching.done()
        watching.cancel()


async def test_who_talks_all_the_time_owes_no_heartbeat() -> None:
    wake = asyncio.Event()
    one = Liveness(wake, stream="Produce")
    async with asyncio.TaskGroup() as group:
        watching = group.create_task(one.watch(), name="watch")
        for _ in range(50):
            one.said()
            one.heard()
            await asyncio.sleep(0)
        assert not wake.is_set()
        watching.cancel()
