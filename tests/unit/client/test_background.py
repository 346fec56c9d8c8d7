"""A client's own tasks: ended with it, and never the application's trouble."""

from __future__ import annotations

import asyncio

import pytest

from ottla.client.background import BackgroundTasks


async def test_tasks_end_with_their_client_whether_they_had_a_turn_or_not() -> None:
    ended: list[str] = []

    async def work(name: str) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    tasks = BackgroundTasks(on_defect=lambda _: None)
    await tasks.open()
    tasks.start(work("ran"), name="ran")
    await asyncio.sleep(0)
    tasks.start(work("never ran"), name="never-ran")
    await tasks.close()
    assert ended == ["ran"]


async def test_tasks_that_somebody_else_cancels_are_told_of_and_those_it_closes_are_not() -> None:
    told: list[str] = []

    async def wait() -> None:
        await asyncio.Event().wait()

    tasks = BackgroundTasks(on_defect=lambda _: None, on_cancelled=lambda: told.append("cancelled"))
    await tasks.open()
    for name in ("first", "second"):
        tasks.start(wait(), name=name)
    await asyncio.sleep(0)
    (first,) = (task for task in asyncio.all_tasks() if task.get_name() == "first")
    first.cancel()  # as the end of a loop does
    await asyncio.wait([first])
    assert told == ["cancelled"]
    await tasks.close()
    assert told == ["cancelled"]


async def test_a_defect_is_logged_and_told_and_leaves_the_others_running(
    caplog: pytest.LogCaptureFixture,
) -> None:
    told: list[Exception] = []
    goes_on = asyncio.Event()

    async def fail() -> None:
        raise LookupError("ours")

    async def wait() -> None:
        await goes_on.wait()

    tasks = BackgroundTasks(on_defect=told.append)
    await tasks.open()
    tasks.start(wait(), name="waits")
    tasks.start(fail(), name="fails")
    await asyncio.sleep(0)
    assert [str(error) for error in told] == ["ours"]
    assert "the client's task fails failed unexpectedly" in caplog.text
    goes_on.set()
    await tasks.close()
