"""What every part of the admin client stands on: opened, asked through any broker, closed.

Owns the calls' course. A call is repeated while its error says so and time is left; what is asked
for is such that asking twice does no harm.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

import grpc

from ottla.api.admin.v1 import admin_pb2_grpc
from ottla.client.calls import Caller, Patience
from ottla.client.clock import SystemClock
from ottla.client.cluster_access import ClusterAccess
from ottla.client.rpc_errors import readable
from ottla.client.setting_bounds import check_bounds
from ottla.client.tls import Tls
from ottla.protocol.errors import OttlaError

Answer = TypeVar("Answer")


class AdminConnection:
    """A client's way to AdminService; opened and closed once, on one event loop."""

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        timeout_ms: int = 30_000,
        tls: Tls | None = None,
    ) -> None:
        """Checks the addresses; nothing is connected before the client is opened.

        Args:
            bootstrap: broker addresses, `host[:port],…`.
            timeout_ms: from a call's first try to its last answer.
            tls: makes connections encrypted.

        Raises:
            InvalidRequest, InvalidConfig: the addresses cannot be read; a time out of bounds.
        """
        patience, clock = _patience(timeout_ms), SystemClock()
        self._timeout_ms = timeout_ms
        self._access = ClusterAccess(
            bootstrap, tls=tls, patience=patience, clock=clock, chance=random.Random()
        )

    async def open(self) -> None:
        """Begin; `async with` does it. Raises Unreachable if no address resolves."""
        await self._access.open()

    async def close(self) -> None:
        """End. Again: nothing."""
        self._access.check_process()
        await self._access.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    def _caller(self) -> Caller:
        self._access.check_usable()
        return self._access.caller

    async def _ask(
        self,
        call: Callable[[admin_pb2_grpc.AdminServiceAsyncStub, float], Awaitable[Answer]],
    ) -> Answer:
        """One call, made on the stub until its answer is final."""

        async def attempt(channel: grpc.aio.Channel, timeout_seconds: float) -> Answer:
            stub: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
            return readable(await call(stub, timeout_seconds))

        return await self._caller().call(attempt)


def _patience(timeout_ms: int) -> Patience:
    check_bounds("timeout_ms", timeout_ms, 1, 2**31)
    return Patience(call_ms=timeout_ms)


class _Outcome(Protocol):
    @property
    def error(self) -> OttlaError | None: ...


Outcome = TypeVar("Outcome", bound=_Outcome)


def sole(results: Sequence[Outcome]) -> Outcome:
    """The one result of a call about one item. Raises its error."""
    if len(results) != 1:
        raise OttlaError(f"the cluster answered {len(results)} results to one question")
    if results[0].error is not None:
        raise results[0].error
    return results[0]
