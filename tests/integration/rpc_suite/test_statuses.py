"""How calls end: codes, messages, details, and on which metadata."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2

from .arrangement import SERVICE, Rpc, failure, message, own_metadata

TEXT = "no \N{SNOWMAN} 100% of\nthis"


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)


@pytest.mark.parametrize(
    "code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]
)
async def test_an_abort_arrives_with_code_message_and_trailing_metadata(
    rpc: Rpc, code: Any
) -> None:
    async def abort(request: Any, context: Any) -> None:
        await context.abort(code, TEXT, (("x-a", "1"), ("x-bin", b"\0\xff"), ("x-a", "2")))

    await rpc.method("unary", abort).serve()
    error = await failure(rpc.stub("unary")(message("")))
    assert (error.code(), error.details()) == (code, TEXT)
    assert own_metadata(error.trailing_metadata()) == [
        ("x-a", "1"),
        ("x-a", "2"),
        ("x-bin", b"\0\xff"),
    ]
    assert own_metadata(error.initial_metadata()) == []


async def test_an_abort_in_a_stream_follows_what_was_sent(rpc: Rpc) -> None:
    async def abort(request: Any, context: Any) -> AsyncIterator[Any]:
        yield message("first")
        await context.abort(grpc.StatusCode.OUT_OF_RANGE, "enough")

    await rpc.method("server_stream", abort).serve()
    call = rpc.stub("server_stream")(message(""))
    assert (await call.read()).value == b"first"
    assert await call.code() is grpc.StatusCode.OUT_OF_RANGE
    assert await call.details() == "enough"


async def test_an_abort_while_requests_still_come_ends_the_call(rpc: Rpc) -> None:
    async def abort(requests: Any, context: Any) -> None:
        await context.read()
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, "stop")

    await rpc.method("bidi", abort).serve()
    call = rpc.stub("bidi")()
    await call.write(message("x"))
    assert await call.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert await call.details() == "stop"


async def test_code_and_details_set_by_the_handler_arrive(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.ALREADY_EXISTS)
        context.set_details(TEXT)
        context.set_trailing_metadata((("x-why", "because"),))
        assert context.code() is grpc.StatusCode.ALREADY_EXISTS
        assert context.details() == TEXT
        assert context.trailing_metadata() == (("x-why", "because"),)
        return message("dropped")

    await rpc.method("unary", handler).serve()
    error = await failure(rpc.stub("unary")(message("")))
    assert (error.code(), error.details()) == (grpc.StatusCode.ALREADY_EXISTS, TEXT)
    assert own_metadata(error.trailing_metadata()) == [("x-why", "because")]


async def test_an_abort_takes_details_and_metadata_set_before(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> None:
        context.set_details("set before")
        context.set_trailing_metadata((("x-why", "because"),))
        await context.abort(grpc.StatusCode.ABORTED)

    await rpc.method("unary", handler).serve()
    error = await failure(rpc.stub("unary")(message("")))
    assert error.details() == "set before"
    assert own_metadata(error.trailing_metadata()) == [("x-why", "because")]


async def test_a_rich_status_arrives_whole(rpc: Rpc) -> None:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo(reason="NOT_LEADER", domain="ottla"))
    rich = status_pb2.Status(code=10, message="not the leader", details=[info])

    class Status(grpc.Status):
        code = grpc.StatusCode.ABORTED
        details = rich.message
        trailing_metadata = (("grpc-status-details-bin", rich.SerializeToString()),)

    async def handler(request: Any, context: Any) -> None:
        await context.abort_with_status(Status())

    await rpc.method("unary", handler).serve()
    error = await failure(rpc.stub("unary")(message("")))
    carried = dict(error.trailing_metadata())["grpc-status-details-bin"]
    assert status_pb2.Status.FromString(carried) == rich
    assert (error.code(), error.details()) == (grpc.StatusCode.ABORTED, "not the leader")


@pytest.mark.parametrize("kind", ["unary", "server_stream", "client_stream", "bidi"])
async def test_an_exception_is_unknown_with_its_words(rpc: Rpc, kind: Any) -> None:
    async def fail(request: Any, context: Any) -> None:
        raise ValueError("of the handler")

    await rpc.method(kind, fail).serve()
    stub = rpc.stub(kind)
    call = stub(message("")) if kind in {"unary", "server_stream"} else stub()
    assert await call.code() is grpc.StatusCode.UNKNOWN
    assert await call.details() == "Unexpected <class 'ValueError'>: of the handler"


async def test_a_request_that_is_not_its_message_is_unknown(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> Any:
        return request

    await rpc.method("unary", handler).serve()
    error = await failure(rpc.stub("unary", raw=True)(b"\xff\xff\xff"))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert "DecodeError" in str(error.details())


def _anything(stub: Any) -> Any:
    return stub(b"")


@pytest.mark.parametrize("path", [f"/{SERVICE}/Nothing", "/nothing.v1.None/Method", "/nonsense"])
async def test_an_unknown_method_is_unimplemented(rpc: Rpc, path: Any) -> None:
    await rpc.serve()
    error = await failure(_anything(rpc.channel.unary_unary(path)))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


@pytest.mark.parametrize("kind", ["unary", "server_stream"])
async def test_a_method_left_as_generated_is_unimplemented(rpc: Rpc, kind: Any) -> None:
    def generated(request: Any, context: Any) -> None:
        context.set_code(grpc.StatusCode.UNIMPLEMENTED)
        context.set_details("Method not implemented!")
        raise NotImplementedError("Method not implemented!")

    await rpc.method(kind, generated).serve()
    error = await failure(rpc.stub(kind)(message("")))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_calls_beyond_the_limit_are_refused(rpc: Rpc) -> None:
    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        async for request in requests:
            yield request

    await rpc.method("bidi", handler).serve(concurrent_calls_max=1)
    held = rpc.stub("bidi")()
    await held.write(message("x"))
    assert (await held.read()).value == b"x"
    refused = rpc.stub("bidi")()
    assert await refused.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await refused.details() == "Concurrent RPC limit exceeded!"
    await held.done_writing()
    assert await held.code() is grpc.StatusCode.OK
