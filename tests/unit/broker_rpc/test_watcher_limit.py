"""How many metadata watches a listener serves."""

from __future__ import annotations

import pytest

from kit.clock import ManualClock
from ottla.protocol.errors import Throttled
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.idle_alarms import IdleAlarms
from ottla_broker.metadata.watch_hub import WatchHub
from ottla_broker.metadata.watch_interest import WatchInterest


async def test_a_watch_too_many_is_told_when_to_try_again_until_another_ends() -> None:
    clock = ManualClock()
    hub = WatchHub(
        ClientView(ClusterTable(), listener="public"),
        clock=clock,
        alarms=IdleAlarms(clock=clock),
        watchers_max=2,
    )
    interest = WatchInterest(frozenset(("a",)), ())
    first, second, third = (hub.watch(interest) for _ in range(3))
    assert await anext(first)
    assert await anext(second)
    with pytest.raises(Throttled) as caught:
        await anext(third)
    assert caught.value.retry_after_ms == 1_000
    assert hub.watcher_count == 2
    await first.aclose()  # type: ignore[attr-defined]  # a generator
    assert await anext(hub.watch(interest))
