"""Tasks live and die together."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from ottla_runtime.failures import StartError, TaskFailedError
from ottla_runtime.supervision import Supervisor


async def _forever() -> None:
    await asyncio.Event().wait()


async def _fail(error: Exception) -> None:
    raise error


async def test_a_task_that_dies_takes_the_others_down_and_names_itself() -> None:
    async with asyncio.timeout(5):
        with capture_logs() as lines, pytest.raises(TaskFailedError) as caught:
            async with Supervisor() as supervisor:
                supervisor.start("bystander", _forever())
                supervisor.start("victim", _fail(RuntimeError("out of luck")))
    assert caught.value.name == "victim"
    assert str(caught.value) == "task victim failed: RuntimeError: out of luck"
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert [(line["event"], line["task"]) for line in lines] == [("task.failed", "victim")]


async def test_a_task_that_may_not_end_fails_by_ending() -> None:
    async def brief() -> None:
        return None

    with capture_logs() as lines, pytest.raises(TaskFailedError) as caught:
        async with Supervisor() as supervisor:
            supervisor.start("watch", brief(), may_end=False)
    assert str(caught.value) == "task watch failed: ended by itself"
    assert lines[0]["event"] == "task.failed"


async def test_a_failed_start_passes_unchanged_and_unlogged() -> None:
    with capture_logs() as lines, pytest.raises(StartError, match="port in use"):
        async with Supervisor() as supervisor:
            supervisor.start("main", _fail(StartError("port in use")))
    assert lines == []


async def test_failure_of_a_nested_supervisor_is_logged_once_with_the_inner_name() -> None:
    async def nested() -> None:
        async with Supervisor() as inner:
            inner.start("leaf", _fail(ValueError("no")))

    with capture_logs() as lines, pytest.raises(TaskFailedError) as caught:
        async with Supervisor() as supervisor:
            supervisor.start("branch", nested())
    assert caught.value.name == "leaf"
    assert [line["task"] for line in lines] == ["leaf"]


async def test_cancel_all_ends_every_task_and_the_block() -> None:
    async with asyncio.timeout(5), Supervisor() as supervisor:
        supervisor.start("b", _forever())
        supervisor.start("a", _forever(), may_end=False)
        assert supervisor.running() == ["a", "b"]
        supervisor.cancel_all()
    assert supervisor.running() == []


async def test_start_task_hands_out_the_result() -> None:
    async def answer() -> int:
        return 42

    async with Supervisor() as supervisor:
        assert await supervisor.start_task("answer", answer()) == 42
