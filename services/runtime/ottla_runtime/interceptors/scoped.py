"""The common part of interceptors that put something around the run of a call.

Owns wrapping a handler of any kind so that its function runs inside an async context manager, and
keeping wrapped handlers, since wrapping for each call would cost more than many calls do. What the
context manager does is each interceptor's own.
"""

from __future__ import annotations

import abc
import inspect
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any, TypeAlias

import grpc

from ottla.protocol.errors import UnsupportedVersion

# In quotes: only the stubs know these as generic.
Context: TypeAlias = "grpc.aio.ServicerContext[Any, Any]"
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour = Callable[..., Any]
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]]"

# Handlers are few; one that serves every name a client makes up must not fill the memory.
_KEPT_MAX = 1_024


class ScopedInterceptor(grpc.aio.ServerInterceptor, abc.ABC):
    """Runs the function of every handler inside `scope`; handlers that are not async have none."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[Handler, Handler]] = {}

    @abc.abstractmethod
    def scope(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        """What to put around one run of `method`."""

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        kept = self._kept.get(method)
        if kept is not None and kept[0] is handler:
            return kept[1]
        wrapped = self._wrapped(handler, method)
        if len(self._kept) < _KEPT_MAX or method in self._kept:
            self._kept[method] = (handler, wrapped)
        return wrapped

    def _wrapped(self, handler: Handler, method: str) -> Handler:
        behaviour = behaviour_of(handler)
        if inspect.isasyncgenfunction(behaviour):
            return with_behaviour(handler, self._around_generator(behaviour, method))
        if inspect.iscoroutinefunction(behaviour):
            return with_behaviour(handler, self._around_coroutine(behaviour, method))
        # What a servicer doesn't define it inherits from generated code, which is synchronous.
        return with_behaviour(handler, self._around_coroutine(_unserved(method), method))

    def _around_coroutine(self, behaviour: Behaviour, method: str) -> Behaviour:
        async def run(request: object, context: Context) -> Any:
            async with self.scope(method, context):
                return await behaviour(request, context)

        return run

    def _around_generator(self, behaviour: Behaviour, method: str) -> Behaviour:
        async def run(request: object, context: Context) -> AsyncIterator[Any]:
            messages: AsyncGenerator[Any, None] = behaviour(request, context)
            async with self.scope(method, context), aclosing(messages):
                async for message in messages:
                    yield message

        return run


def _unserved(method: str) -> Behaviour:
    async def refuse(_request: object, _context: Context) -> None:
        raise UnsupportedVersion(f"{method} is not served here")

    return refuse


def behaviour_of(handler: Handler) -> Behaviour:
    """The servicer's function inside a handler."""
    behaviour = (
        handler.unary_unary or handler.unary_stream or handler.stream_unary or handler.stream_stream
    )
    assert behaviour is not None, "a handler has the function of its kind"
    return behaviour


def with_behaviour(
    handler: Handler, behaviour: Behaviour, *, parse: Callable[[Any], Any] | None = None
) -> Handler:
    """A handler of the same kind and serialization, but for `parse`, that runs `behaviour`."""
    constructors: dict[tuple[bool, bool], Callable[..., Handler]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    construct = constructors[bool(handler.request_streaming), bool(handler.response_streaming)]
    return construct(
        behaviour,
        request_deserializer=parse or handler.request_deserializer,
        response_serializer=handler.response_serializer,
    )
