"""Waiting for a version of the metadata."""

from __future__ import annotations

import asyncio

from kit.clock import settle
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion


async def test_those_who_wait_are_let_go_in_the_order_of_their_versions() -> None:
    waiters = VersionWaiters()
    done: list[int] = []

    async def wait(revision: int) -> None:
        await waiters.wait_for(ClusterVersion(1, revision))
        done.append(revision)

    async with asyncio.TaskGroup() as group:
        for revision in (30, 10, 20):
            group.create_task(wait(revision), name=f"wait-{revision}")
        await settle()
        waiters.reached(ClusterVersion(1, 9))
        await settle()
        assert done == []
        waiters.reached(ClusterVersion(1, 20))
        await settle()
        assert done == [10, 20]
        waiters.reached(ClusterVersion(2, 1))
    assert done == [10, 20, 30]


async def test_a_version_that_shows_already_is_not_waited_for_and_none_goes_back() -> None:
    waiters = VersionWaiters()
    waiters.reached(ClusterVersion(1, 5))
    waiters.reached(ClusterVersion(1, 4))
    assert waiters.version == ClusterVersion(1, 5)
    await waiters.wait_for(ClusterVersion(1, 5))


async def test_who_gives_up_is_forgotten() -> None:
    waiters = VersionWaiters()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(waiters.wait_for(ClusterVersion(1, 5)), name="wait")
        await settle()
        waiting.cancel()
    waiters.reached(ClusterVersion(1, 9))
    assert waiters.version == ClusterVersion(1, 9)
