"""The tasks of a server's calls: started, kept, and watched to their end.

It is their supervisor. A `TaskGroup` is not, for two reasons: calls are started by callbacks of
connections, which run in no task that could own a group, and a call that fails must not cancel
the others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from contextvars import Context

from ottla_broker.transport.context import CallContext

_log = logging.getLogger(__name__)


class CallTasks:
    """Owns every task that serves a call, and the context of each that has one."""

    def __init__(self, *, on_idle: Callable[[], None]) -> None:
        self._on_idle = on_idle
        self._calls: dict[asyncio.Task[None], CallContext | None] = {}

    def __len__(self) -> int:
        """Calls in progress."""
        return len(self._calls)

    def start(
        self, serving: Coroutine[object, object, None], context: CallContext | None = None
    ) -> None:
        """Run a call in a task of its own, with no context variables of whoever is running."""
        loop = asyncio.get_running_loop()
        task = loop.create_task(serving, name="rpc", context=Context())  # noqa: OTL001 - kept here
        self._calls[task] = context
        task.add_done_callback(self._over)
        if context is not None:
            context.begin(task, loop)

    async def cancel_all(self, outcome: tuple[int, str]) -> None:
        """Cancel what is in progress, answering `outcome`, and wait for the handlers' end.

        Refusals have no handler, and end by themselves.
        """
        while self._calls:
            for context in tuple(self._calls.values()):
                if context is not None:
                    context.cancel(outcome)
            await asyncio.wait(tuple(self._calls))

    def _over(self, task: asyncio.Task[None]) -> None:
        context = self._calls.pop(task)
        if not self._calls:
            self._on_idle()
        if context is not None:
            context.end(began=not task.cancelled())
            for callback in context.done_callbacks():
                _call_back(callback, context)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("call ended by a bug of the transport", exc_info=error)


def _call_back(callback: Callable[[CallContext], None], context: CallContext) -> None:
    try:
        callback(context)
    except Exception:  # noqa: BLE001 - the servicer's code, at the root of what calls it
        _log.exception("Error in a done callback of a call")
