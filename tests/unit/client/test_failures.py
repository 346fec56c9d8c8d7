"""What a stream's tasks failed with, told as one error."""

from __future__ import annotations

import asyncio

import pytest

from ottla.client.failures import expected_error
from ottla.protocol.errors import NotLeader, OttlaError


async def _fail_when_cancelled(began: asyncio.Event) -> None:
    began.set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        raise NotLeader("the stream failed as it was closed") from None


async def _session(began: asyncio.Event) -> OttlaError:
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_fail_when_cancelled(began))
    except BaseExceptionGroup as failures:
        return expected_error(failures)
    raise AssertionError("the group fails")


async def test_a_task_that_is_cancelled_ends_though_its_stream_fails_in_the_same_moment() -> None:
    began = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        session = group.create_task(_session(began), name="session")
        await began.wait()
        session.cancel()
    assert session.cancelled()


async def test_the_first_expected_error_is_picked_out_of_nested_groups() -> None:
    wanted = NotLeader("moved")
    assert expected_error(ExceptionGroup("outer", [ExceptionGroup("inner", [wanted])])) is wanted


async def test_a_defect_beside_an_expected_error_is_not_hidden() -> None:
    defect = KeyError("x")
    with pytest.raises(ExceptionGroup) as caught:
        expected_error(ExceptionGroup("both", [NotLeader("moved"), defect]))
    assert caught.value.subgroup(KeyError) is not None
