"""All four kinds of RPC in all ways to write them, their order, and their messages."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from ottla_broker.transport.handlers import raw_request
from ottla_broker.transport.stream import EncodedMessage

from .arrangement import Rpc, message

COUNT = 300


async def collected(requests: Any) -> Any:
    return b",".join([request.value async for request in requests])


async def unary_coroutine(request: Any, context: Any) -> Any:
    return message(request.value + b"!")


async def server_stream_generator(request: Any, context: Any) -> AsyncIterator[Any]:
    for number in range(COUNT):
        yield message(request.value + b"%d" % number)


async def server_stream_writer(request: Any, context: Any) -> None:
    for number in range(COUNT):
        await context.write(message(request.value + b"%d" % number))


async def client_stream_iterator(requests: Any, context: Any) -> Any:
    return message(await collected(requests))


async def client_stream_reader(_: Any, context: Any) -> Any:
    values = []
    while (request := await context.read()) is not grpc.aio.EOF:
        values.append(request.value)
    assert await context.read() is grpc.aio.EOF
    return message(b",".join(values))


async def bidi_generator(requests: Any, context: Any) -> AsyncIterator[Any]:
    async for request in requests:
        yield message(request.value + b"!")


async def bidi_reader_writer(_: Any, context: Any) -> None:
    while (request := await context.read()) is not grpc.aio.EOF:
        await context.write(message(request.value + b"!"))


async def bidi_iterator_writer(requests: Any, context: Any) -> None:
    async for request in requests:
        await context.write(message(request.value + b"!"))


class Servicer:
    async def unary(self, request: Any, context: Any) -> Any:
        return await unary_coroutine(request, context)

    async def bidi(self, requests: Any, context: Any) -> AsyncIterator[Any]:
        async for response in bidi_generator(requests, context):
            yield response


async def numbers() -> AsyncIterator[Any]:
    for number in range(COUNT):
        yield message(number)


@pytest.mark.parametrize(
    "handler", [unary_coroutine, Servicer().unary, functools.partial(unary_coroutine)]
)
async def test_unary(rpc: Rpc, handler: Any) -> None:
    await rpc.method("unary", handler).serve()
    assert (await rpc.stub("unary")(message("hello"))).value == b"hello!"


@pytest.mark.parametrize("handler", [server_stream_generator, server_stream_writer])
async def test_server_stream(rpc: Rpc, handler: Any) -> None:
    await rpc.method("server_stream", handler).serve()
    call = rpc.stub("server_stream")(message("n"))
    assert [item.value async for item in call] == [b"n%d" % number for number in range(COUNT)]
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize("handler", [client_stream_iterator, client_stream_reader])
async def test_client_stream(rpc: Rpc, handler: Any) -> None:
    await rpc.method("client_stream", handler).serve()
    answer = await rpc.stub("client_stream")(numbers())
    assert answer.value == b",".join(b"%d" % number for number in range(COUNT))


@pytest.mark.parametrize(
    "handler", [bidi_generator, bidi_reader_writer, bidi_iterator_writer, Servicer().bidi]
)
async def test_bidi(rpc: Rpc, handler: Any) -> None:
    await rpc.method("bidi", handler).serve()
    call = rpc.stub("bidi")(numbers())
    assert [item.value async for item in call] == [b"%d!" % number for number in range(COUNT)]


@pytest.mark.parametrize("handler", [bidi_generator, bidi_reader_writer])
async def test_bidi_in_lockstep(rpc: Rpc, handler: Any) -> None:
    await rpc.method("bidi", handler).serve()
    call = rpc.stub("bidi")()
    for number in range(50):
        await call.write(message(number))
        assert (await call.read()).value == b"%d!" % number
    await call.done_writing()
    assert await call.read() is grpc.aio.EOF
    assert await call.code() is grpc.StatusCode.OK


@pytest.mark.parametrize(
    ("kind", "handler"),
    [
        ("client_stream", client_stream_iterator),
        ("client_stream", client_stream_reader),
        ("bidi", bidi_generator),
        ("bidi", bidi_reader_writer),
    ],
)
async def test_a_stream_without_requests_ends(rpc: Rpc, kind: Any, handler: Any) -> None:
    async def nothing() -> AsyncIterator[Any]:
        for item in iter(list[Any]()):
            yield item

    await rpc.method(kind, handler).serve()
    call = rpc.stub(kind)(nothing())
    if kind == "bidi":
        assert [item async for item in call] == []
    else:
        assert (await call).value == b""
    assert await call.code() is grpc.StatusCode.OK


async def test_a_stream_of_no_responses_ends_well(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> AsyncIterator[Any]:
        for item in iter(list[Any]()):
            yield item

    await rpc.method("server_stream", handler).serve()
    call = rpc.stub("server_stream")(message(""))
    assert [item async for item in call] == []
    assert await call.code() is grpc.StatusCode.OK


async def test_a_handler_may_answer_before_it_has_read_everything(rpc: Rpc) -> None:
    async def handler(requests: Any, context: Any) -> Any:
        return message((await context.read()).value)

    await rpc.method("client_stream", handler).serve()
    assert (await rpc.stub("client_stream")(numbers())).value == b"0"


async def test_many_calls_at_once_do_not_mix(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> Any:
        await asyncio.sleep(0)
        return request

    await rpc.method("unary", handler).serve()
    stub = rpc.stub("unary")
    answers = await asyncio.gather(*(stub(message(number)) for number in range(400)))
    assert [answer.value for answer in answers] == [b"%d" % number for number in range(400)]


async def test_empty_messages_are_messages(rpc: Rpc) -> None:
    await rpc.method("bidi", bidi_generator).serve()

    async def empties() -> AsyncIterator[Any]:
        for _ in range(3):
            yield message("")

    call = rpc.stub("bidi")(empties())
    assert [item.value async for item in call] == [b"!", b"!", b"!"]


async def test_a_raw_method_gets_views_and_answers_encoded_messages(rpc: Rpc) -> None:
    seen = []

    @raw_request
    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            assert isinstance(request, memoryview)
            assert request.readonly
            seen.append(bytes(request))
            yield EncodedMessage((b"\x0a\x06", memoryview(b"abc"), b"def"))

    await rpc.method("bidi", handler).serve()
    call = rpc.stub("bidi")(iter([message("one"), message("two")]))
    assert [item.value async for item in call] == [b"abcdef", b"abcdef"]
    assert seen == [message("one").SerializeToString(), message("two").SerializeToString()]


async def test_a_unary_method_may_answer_an_encoded_message(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> Any:
        return EncodedMessage((b"\x0a\x03", b"abc"))

    await rpc.method("unary", handler).serve()
    assert (await rpc.stub("unary")(message(""))).value == b"abc"
