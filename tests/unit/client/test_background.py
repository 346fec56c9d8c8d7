"""A client's own tasks: ended with it, and never the application's trouble."""

from __future__ import annotations

import asyncio
import gc
import weakref

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


class Held:
    """What a task works with."""


async def test_what_tasks_hold_is_let_go_with_them_not_at_the_next_garbage_collection() -> None:
    held: list[weakref.ref[Held]] = []

    async def work() -> None:
        thing = Held()
        held.append(weakref.ref(thing))
        async with asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())
            async with asyncio.timeout(3_600):
                await asyncio.Event().wait()

    gc.collect()
    gc.disable()
    try:
        tasks = BackgroundTasks(on_defect=lambda _: None)
        await tasks.open()
        tasks.start(work(), name="works")
        await asyncio.sleep(0)
        await tasks.close()
        assert [reference() for reference in held] == [None]
    finally:
        gc.enable()


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
