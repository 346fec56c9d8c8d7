"""The chain of `grpc.aio.ServerInterceptor`s around the look-up of a handler.

Owns only the order: the first given is outermost and sees the call first. Interceptors are run
unchanged, as `grpc.aio.server` runs them.
"""

from __future__ import annotations

from collections.abc import Sequence

import grpc

from ottla_broker.transport.handlers import Handler, MethodTable


async def intercepted_handler(
    interceptors: Sequence[grpc.aio.ServerInterceptor],
    table: MethodTable,
    details: grpc.HandlerCallDetails,
) -> Handler | None:
    """The handler the interceptors settle on; None when nobody serves the call."""

    async def proceed(position: int, given: grpc.HandlerCallDetails) -> Handler | None:
        if position == len(interceptors):
            return table.find(given)

        async def continuation(changed: grpc.HandlerCallDetails) -> Handler | None:
            return await proceed(position + 1, changed)

        return await interceptors[position].intercept_service(continuation, given)

    return await proceed(0, details)
