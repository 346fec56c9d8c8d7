"""The canonical line of an RPC: one when it ends, with everything about it that is worth a search.

Owns `rpc.finished`. It says what the client was told, so this interceptor stands outside of
`errors`. Health and reflection leave a line only when they fail.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import AbstractAsyncContextManager
from types import TracebackType
from typing import Literal, cast

import grpc
import structlog

from ottla.protocol.errors import OttlaError, StatusCode
from ottla_runtime import fields
from ottla_runtime.clock import Clock
from ottla_runtime.interceptors.principal import ANONYMOUS, principal_of
from ottla_runtime.interceptors.scoped import Context, Continuation, Handler, ScopedInterceptor

AccessLines = Literal["all", "failed", "none"]

_logger = structlog.get_logger(__name__)


class AccessLogInterceptor(ScopedInterceptor):
    """Writes the line of each call, of each failed call, or of none."""

    def __init__(self, *, clock: Clock, lines: AccessLines, trusts_forwarded: bool) -> None:
        super().__init__()
        self.lines: AccessLines = lines
        """Which calls leave a line; may become another while calls run."""
        self._clock = clock
        self._trusts_forwarded = trusts_forwarded

    async def intercept_service(
        self, continuation: Continuation, handler_call_details: grpc.HandlerCallDetails
    ) -> Handler | None:
        if self.lines == "none":
            return await continuation(handler_call_details)
        return await super().intercept_service(continuation, handler_call_details)

    def scope(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        return _AccessScope(method, context, self)

    def now_ms(self) -> int:
        """The time durations are measured with."""
        return self._clock.monotonic_ms()

    def finished(
        self, caller: Mapping[str, str], *, code: StatusCode, reason: str, duration_ms: int
    ) -> None:
        """Write the line of a call, if such calls have one."""
        is_technical = caller[fields.METHOD].startswith("/grpc.")
        if self.lines == "none":
            return
        if code is StatusCode.OK and (self.lines == "failed" or is_technical):
            return
        line = {**caller, fields.CODE: code.name, fields.DURATION_MS: duration_ms}
        if reason:
            line[fields.REASON] = reason
        _logger.info("rpc.finished", **line)

    def principal(self, context: Context) -> str:
        """Who calls, as far as the call says so properly."""
        try:
            metadata = context.invocation_metadata()
            return principal_of(metadata, trusts_forwarded=self._trusts_forwarded)
        except OttlaError:
            return ANONYMOUS  # the call was refused for it


class _AccessScope(AbstractAsyncContextManager[None]):
    """One call; made for every call, hence without a generator behind it.

    What the context knows of the caller is asked for at once: grpc.aio frees a call whose client
    has vanished before its generator is closed, and crashes the process if asked afterwards.
    """

    __slots__ = ("_caller", "_context", "_deadline_ms", "_log", "_started_ms")

    def __init__(self, method: str, context: Context, log: AccessLogInterceptor) -> None:
        self._context = context
        self._log = log
        self._started_ms = log.now_ms()
        # None without a deadline, which the stubs do not say.
        left_seconds = cast("float | None", context.time_remaining())
        self._deadline_ms = left_seconds and self._started_ms + left_seconds * 1_000
        self._caller = {
            fields.METHOD: method,
            fields.PEER: context.peer(),
            fields.PRINCIPAL: log.principal(context),
        }

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        cause = error.__cause__ if isinstance(error, grpc.aio.AbortError) else None
        now_ms = self._log.now_ms()
        self._log.finished(
            self._caller,
            code=self._code(error, now_ms),
            reason=cause.reason if isinstance(cause, OttlaError) else "",
            duration_ms=now_ms - self._started_ms,
        )

    def _code(self, error: BaseException | None, now_ms: int) -> StatusCode:
        if isinstance(error, asyncio.CancelledError | GeneratorExit):
            over = self._deadline_ms is not None and now_ms >= self._deadline_ms
            return StatusCode.DEADLINE_EXCEEDED if over else StatusCode.CANCELLED
        if error is not None and not isinstance(error, grpc.aio.AbortError):
            return StatusCode.UNKNOWN
        # grpc.aio gives its own enum, whose value is (number, text), a bare number, or nothing.
        given = cast("grpc.StatusCode | int | None", self._context.code())
        number = given.value[0] if isinstance(given, grpc.StatusCode) else given
        return StatusCode(number or 0)
