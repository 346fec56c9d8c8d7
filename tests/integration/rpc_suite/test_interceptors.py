"""`grpc.aio.ServerInterceptor`s, unchanged, on either server."""

from __future__ import annotations

import contextvars
from typing import Any

import grpc

from .arrangement import Rpc, failure, message

principal = contextvars.ContextVar("principal", default="nobody")


class Noting(grpc.aio.ServerInterceptor):
    def __init__(self, name: str, seen: Any) -> None:
        self.name = name
        self.seen = seen

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        self.seen.append(f"{self.name} in")
        handler = await continuation(handler_call_details)
        self.seen.append(f"{self.name} out")
        return handler


class Authenticating(grpc.aio.ServerInterceptor):
    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        token = dict(handler_call_details.invocation_metadata).get("x-token")
        if token == "good":
            principal.set("ottla")
            return await continuation(handler_call_details)

        async def refuse(request: Any, context: Any) -> None:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "who are you?")

        return grpc.unary_unary_rpc_method_handler(refuse)


class Masking(grpc.aio.ServerInterceptor):
    """Turns what a handler raises into INTERNAL, as services do."""

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None:
            return handler

        async def masked(request: Any, context: Any) -> Any:
            try:
                return await handler.unary_unary(request, context)
            except ValueError:
                await context.abort(grpc.StatusCode.INTERNAL, "incident 1")

        return grpc.unary_unary_rpc_method_handler(
            masked, handler.request_deserializer, handler.response_serializer
        )


async def echo(request: Any, context: Any) -> Any:
    return request


async def test_the_first_given_is_outermost(rpc: Rpc) -> None:
    seen: list[Any] = []
    interceptors = (Noting("first", seen), Noting("second", seen))
    await rpc.method("unary", echo).serve(interceptors=interceptors)
    assert (await rpc.stub("unary")(message("x"))).value == b"x"
    assert seen == ["first in", "second in", "second out", "first out"]


async def test_an_unknown_method_passes_the_interceptors_too(rpc: Rpc) -> None:
    seen: list[Any] = []
    await rpc.serve(interceptors=(Noting("only", seen),))
    error = await failure(rpc.stub("unary", "Nothing")(message("")))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert seen == ["only in", "only out"]


async def test_an_interceptor_may_answer_itself_and_hands_state_on_by_context(rpc: Rpc) -> None:
    async def whoami(request: Any, context: Any) -> Any:
        return message(principal.get())

    await rpc.method("unary", whoami).serve(interceptors=(Authenticating(),))
    stub = rpc.stub("unary")
    error = await failure(stub(message("")))
    assert (error.code(), error.details()) == (grpc.StatusCode.UNAUTHENTICATED, "who are you?")
    assert (await stub(message(""), metadata=(("x-token", "good"),))).value == b"ottla"
    assert principal.get() == "nobody"


async def test_an_interceptor_may_wrap_the_handler(rpc: Rpc) -> None:
    async def fail(request: Any, context: Any) -> None:
        raise ValueError("secret")

    await rpc.method("unary", fail).method("unary", echo, "Echo").serve(interceptors=(Masking(),))
    error = await failure(rpc.stub("unary")(message("")))
    assert (error.code(), error.details()) == (grpc.StatusCode.INTERNAL, "incident 1")
    assert (await rpc.stub("unary", "Echo")(message("x"))).value == b"x"


async def test_an_interceptor_that_answers_nothing_makes_the_method_unknown(rpc: Rpc) -> None:
    class Hiding(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            return None

    await rpc.method("unary", echo).serve(interceptors=(Hiding(),))
    error = await failure(rpc.stub("unary")(message("")))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
