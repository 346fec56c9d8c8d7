"""Clients that give up, deadlines that pass, servers that stop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from .arrangement import Rpc, failure, message


class Waiting:
    """A handler that starts, waits for ever, and tells how it ended."""

    def __init__(self) -> None:
        self.started = asyncio.Event()
        self.cancelled = asyncio.Event()
        self.called_back = asyncio.Event()
        self.remaining = 0.0

    async def wait(self, context: Any) -> None:
        context.add_done_callback(lambda _: self.called_back.set())
        self.remaining = context.time_remaining()
        self.started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise

    async def unary(self, request: Any, context: Any) -> None:
        await self.wait(context)

    async def server_stream(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield message("first")
        await self.wait(context)

    async def client_stream(self, requests: Any, context: Any) -> None:
        await self.wait(context)

    async def bidi(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        await self.wait(context)
        yield message("never")


KINDS = ["unary", "server_stream", "client_stream", "bidi"]


def begin(rpc: Rpc, kind: Any, **options: Any) -> Any:
    stub = rpc.stub(kind)
    if kind in {"unary", "server_stream"}:
        return stub(message(""), **options)
    return stub(**options)


@pytest.mark.parametrize("kind", KINDS)
async def test_a_cancelled_call_cancels_its_handler(rpc: Rpc, kind: Any) -> None:
    waiting = Waiting()
    await rpc.method(kind, getattr(waiting, kind)).serve()
    call = begin(rpc, kind)
    await waiting.started.wait()
    call.cancel()
    await waiting.cancelled.wait()
    await waiting.called_back.wait()
    assert await call.code() is grpc.StatusCode.CANCELLED


async def test_a_handler_waiting_for_a_request_is_stopped_with_its_call(rpc: Rpc) -> None:
    seen = asyncio.Event()
    reading = asyncio.Event()

    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        reading.set()
        try:
            async for _ in requests:
                pass
            yield message("")
        finally:
            seen.set()

    await rpc.method("bidi", handler).serve()
    call = rpc.stub("bidi")()
    await reading.wait()
    call.cancel()
    await seen.wait()


async def test_a_handler_that_waits_to_write_is_cancelled(rpc: Rpc) -> None:
    stopped = asyncio.Event()

    async def handler(request: Any, context: Any) -> None:
        try:
            while True:
                await context.write(message(bytes(1024 * 1024)))
        finally:
            stopped.set()

    await rpc.method("server_stream", handler).serve()
    call = rpc.stub("server_stream")(message(""))
    await call.read()
    call.cancel()
    await stopped.wait()


async def test_closing_the_channel_cancels_the_handler(rpc: Rpc) -> None:
    waiting = Waiting()
    await rpc.method("bidi", waiting.bidi).serve()
    channel = rpc.connect()
    call = rpc.stub("bidi", channel=channel)()
    await waiting.started.wait()
    await channel.close()
    await waiting.cancelled.wait()
    assert call.done()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_deadline_ends_call_and_handler(rpc: Rpc, kind: Any) -> None:
    waiting = Waiting()
    await rpc.method(kind, getattr(waiting, kind)).serve()
    call = begin(rpc, kind, timeout=0.5)
    assert await call.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    await waiting.cancelled.wait()
    # grpc rounds what it grants up.
    assert 0 < waiting.remaining < 1


async def test_without_a_deadline_no_time_runs_out(rpc: Rpc) -> None:
    seen = []

    async def handler(request: Any, context: Any) -> Any:
        seen.append(context.time_remaining())
        return request

    await rpc.method("unary", handler).serve()
    await rpc.stub("unary")(message(""))
    assert seen == [None]


async def test_a_stop_with_grace_lets_calls_finish(rpc: Rpc) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def handler(request: Any, context: Any) -> Any:
        started.set()
        await release.wait()
        return request

    await rpc.method("unary", handler).serve()
    call = rpc.stub("unary")(message("x"))
    await started.wait()
    async with asyncio.TaskGroup() as group:
        group.create_task(rpc.server.stop(30))
        release.set()
        assert (await call).value == b"x"
    assert await rpc.server.wait_for_termination(30) is False


async def test_a_stop_without_grace_cancels_what_runs(rpc: Rpc) -> None:
    waiting = Waiting()
    await rpc.method("unary", waiting.unary).serve()
    call = rpc.stub("unary")(message(""))
    await waiting.started.wait()
    await rpc.server.stop(None)
    await waiting.cancelled.wait()
    assert (await failure(call)).code() in {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.CANCELLED,
    }


async def test_a_stopped_server_takes_no_calls(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> Any:
        return request

    await rpc.method("unary", handler).serve()
    assert (await rpc.stub("unary")(message("x"))).value == b"x"
    await rpc.server.stop(None)
    error = await failure(rpc.stub("unary")(message("")))
    assert error.code() is grpc.StatusCode.UNAVAILABLE
