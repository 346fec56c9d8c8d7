"""Running one call: from the look-up of its method to its status, the root of its task.

Owns the four kinds of RPC and the three ways to write a handler (coroutine, async generator,
`context.read`/`context.write`), and what becomes of everything a handler can raise. The words of
each status are those of `grpc.aio`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import Any

import grpc

from ottla_broker.transport import status
from ottla_broker.transport.context import CallContext, RequestIterator
from ottla_broker.transport.handlers import Method, MethodTable
from ottla_broker.transport.interceptors import intercepted_handler

_log = logging.getLogger(__name__)


async def run_call(
    context: CallContext,
    path: bytes,
    table: MethodTable,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
) -> None:
    """Serve one call to its end; nothing but cancellation leaves this."""
    try:
        method = await _find(context, path, table, interceptors)
        if method is None:
            await context.fail(status.UNIMPLEMENTED, "Method not found!")
        await _run(method, context)
    except asyncio.CancelledError:
        await context.finish_cancelled()
        raise
    except Exception as error:  # noqa: BLE001 - the root: what a handler raises becomes a status
        if not context.aborted_by(error):
            _log.exception(
                "Unexpected [%s] raised by servicer method [%s]",
                type(error).__name__,
                path.decode("utf-8", "replace"),
            )
            await context.finish_unexpected(error)


async def _find(
    context: CallContext,
    path: bytes,
    table: MethodTable,
    interceptors: Sequence[grpc.aio.ServerInterceptor],
) -> Method | None:
    if not interceptors:
        method = table.registered(path)
        if method is not None:
            return method
        handler = table.find(context.call_details())
    else:
        handler = await intercepted_handler(interceptors, table, context.call_details())
    return None if handler is None else table.method_of(handler, path)


async def _run(method: Method, context: CallContext) -> None:
    context.serve_with(method)
    request = RequestIterator(context) if method.request_streaming else await context.receive_only()
    result = method.behaviour(request, context)
    if not method.response_streaming:
        response = await result if inspect.isawaitable(result) else result
        await context.respond(response)
        return
    if method.generates or hasattr(result, "__aiter__"):
        await _send_all(result, context)
    elif inspect.isawaitable(result):
        await result
    else:
        raise TypeError(f"handler of a response stream must be asynchronous: {method.behaviour}")
    context.check_running()
    await context.finish()


async def _send_all(responses: AsyncIterator[Any], context: CallContext) -> None:
    try:
        async for response in responses:
            await context.send(response)
    finally:
        # A generator left half-way is closed here and now, not when it is collected.
        if isinstance(responses, AsyncGenerator):
            await responses.aclose()
