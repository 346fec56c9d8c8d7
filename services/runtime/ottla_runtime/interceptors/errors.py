"""How what a servicer raises reaches the client.

Owns ending a call with the status and details of an `OttlaError`, and masking everything unplanned
as INTERNAL with an incident id that the log explains. Requests that make trouble are parsed in
here too, as `request_parsing` says. The table of errors is `ottla.protocol.errors`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    aclosing,
    nullcontext,
)
from types import TracebackType
from typing import Any, Final

import grpc
import structlog

from ottla.protocol.error_details import STATUS_TRAILER, to_status
from ottla.protocol.errors import BufferFull, Internal, OttlaError, StatusCode
from ottla_runtime import fields
from ottla_runtime.entropy import Entropy
from ottla_runtime.interceptors.request_parsing import ParseBudget, Unparsed, parser_of
from ottla_runtime.interceptors.scoped import (
    Behaviour,
    Context,
    Handler,
    ScopedInterceptor,
    behaviour_of,
    with_behaviour,
)
from ottla_runtime.rpc_errors import error_of

_INCIDENT_ID_BYTES: Final = 8
# The text travels twice, here percent-encoded, and peers take but 8 KiB of trailers in all. The
# details have the whole of it.
_MESSAGE_CHARS_MAX: Final = 256
_GRPC_CODES: Final = {code: grpc.StatusCode[code.name] for code in StatusCode}

_logger = structlog.get_logger(__name__)


class ErrorInterceptor(ScopedInterceptor):
    """Turns exceptions of servicers and of parsing into statuses. Stands inside the access log."""

    def __init__(self, *, entropy: Entropy) -> None:
        super().__init__()
        self._entropy = entropy
        self._budget = ParseBudget()

    def _wrapped(self, handler: Handler, method: str) -> Handler:
        parser = parser_of(handler.request_deserializer, self._budget)
        if parser is None:
            return super()._wrapped(handler, method)
        # What `of_many` raises, the servicer's loop over its requests raises.
        parse = parser.of_many if handler.request_streaming else parser.of_one
        return super()._wrapped(with_behaviour(handler, behaviour_of(handler), parse=parse), method)

    def _around_coroutine(self, behaviour: Behaviour, method: str) -> Behaviour:
        async def run(request: object, context: Context) -> Any:
            async with self.scope(method, context):
                if isinstance(request, Unparsed):
                    with request.parser.held(request) as parsed:
                        return await behaviour(parsed, context)
                return await behaviour(request, context)

        return run

    def _around_generator(self, behaviour: Behaviour, method: str) -> Behaviour:
        async def run(request: object, context: Context) -> AsyncIterator[Any]:
            async with self.scope(method, context):
                with _held(request) as parsed:
                    async with aclosing(behaviour(parsed, context)) as messages:
                        async for message in messages:
                            yield message

        return run

    def scope(self, method: str, context: Context) -> AbstractAsyncContextManager[None]:
        return _ErrorScope(method, context, self._entropy)


def _held(request: object) -> AbstractContextManager[object]:
    if isinstance(request, Unparsed):
        return request.parser.held(request)
    return nullcontext(request)


async def abort_with(context: Context, error: OttlaError) -> None:
    """End the call with `error`; raises `grpc.aio.AbortError`, whose cause is `error`."""
    details = to_status(error)
    try:
        await context.abort(
            _GRPC_CODES[error.status],
            _cut(error.message),
            trailing_metadata=((STATUS_TRAILER, details),),
        )
    except grpc.aio.AbortError as aborted:
        raise aborted from error


def _cut(text: str) -> str:
    short = text if len(text) <= _MESSAGE_CHARS_MAX else text[: _MESSAGE_CHARS_MAX - 1] + "…"
    return short.encode(errors="replace").decode()


class _ErrorScope(AbstractAsyncContextManager[None]):
    """One call; made for every call, hence without a generator behind it."""

    __slots__ = ("_context", "_entropy", "_method")

    def __init__(self, method: str, context: Context, entropy: Entropy) -> None:
        self._method = method
        self._context = context
        self._entropy = entropy

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Cancellation, the closing of a generator and aborts of the servicer's own pass.
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            return
        planned = error_of(error) if isinstance(error, grpc.RpcError) else error
        if isinstance(planned, OttlaError) and not isinstance(planned, BufferFull):
            await abort_with(self._context, planned)
            return
        await abort_with(self._context, self._incident(error))

    def _incident(self, error: Exception) -> Internal:
        incident_id = self._entropy.token_bytes(_INCIDENT_ID_BYTES).hex()
        _logger.error(
            "rpc.failed_unexpectedly",
            **{
                fields.METHOD: self._method,
                fields.INCIDENT_ID: incident_id,
                fields.ERROR: f"{type(error).__name__}: {error}",
            },
            exc_info=error,
        )
        return Internal(
            f"something unplanned happened; the server's log explains incident {incident_id}",
            metadata={fields.INCIDENT_ID: incident_id},
        )
