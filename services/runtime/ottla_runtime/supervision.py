"""The tree of a service's tasks: who runs, and what happens when one dies.

Owns starting named tasks in one `asyncio.TaskGroup` and turning the death of any into the death of
the service. A task that fails is logged once with its name, its siblings are cancelled, and leaving
the supervisor raises `TaskFailedError`. Restarting is not its business: a process that lost a task
is in a state nobody tested, so it ends and is started anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

import structlog

from ottla_runtime import fields
from ottla_runtime.failures import StartError, TaskFailedError

_Result = TypeVar("_Result")
_logger = structlog.get_logger(__name__)


class Supervisor:
    """Named tasks that live and die together.

    Used as `async with Supervisor() as supervisor`; leaving the block waits for every task. Tasks
    of one event loop call it, also tasks it started itself.
    """

    def __init__(self) -> None:
        self._group = asyncio.TaskGroup()
        self._running: set[asyncio.Task[Any]] = set()

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            await self._group.__aexit__(kind, error, traceback)
        except BaseExceptionGroup as group:
            # Several may have died together; the log has each, the process ends for the first.
            first = _first_leaf(group)
            raise first from first.__cause__

    def start(self, name: str, work: Coroutine[Any, Any, object], *, may_end: bool = True) -> None:
        """Start `work` as a task called `name`.

        Args:
            name: says in logs and debuggers what runs, such as `controller-session`.
            work: what to run.
            may_end: False for work that goes on until cancelled; its return is then a failure.

        Raises:
            RuntimeError: the supervisor was not entered or is already over.
        """
        guarded = self._guarded(name, work, may_end=may_end)
        self._keep(self._group.create_task(guarded, name=name), work)

    def start_task(self, name: str, work: Coroutine[Any, Any, _Result]) -> asyncio.Task[_Result]:
        """The same, for a caller that waits for the result or cancels the task by itself."""
        task = self._group.create_task(self._guarded(name, work, may_end=True), name=name)
        self._keep(task, work)
        return task

    def _keep(self, task: asyncio.Task[Any], work: Coroutine[Any, Any, object]) -> None:
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        # A task cancelled before its first step leaves its work unstarted; that is no mistake.
        task.add_done_callback(lambda _: work.close())

    def cancel_all(self) -> None:
        """Stage two of a shutdown: cancel every task that still runs."""
        for task in sorted(self._running, key=lambda task: task.get_name()):
            task.cancel()

    def running(self) -> list[str]:
        """Names of the tasks that run, sorted."""
        return sorted(task.get_name() for task in self._running)

    async def _guarded(
        self, name: str, work: Coroutine[Any, Any, _Result], *, may_end: bool
    ) -> _Result:
        try:
            result = await work
        except (TaskFailedError, StartError):
            raise  # a task below this one failed and said so
        except Exception as error:  # a task's root: the supervisor reports what it died of
            _logger.exception("task.failed", **{fields.TASK: name, fields.ERROR: str(error)})
            raise TaskFailedError(name, f"{type(error).__name__}: {error}") from error
        if not may_end:
            _logger.error("task.failed", **{fields.TASK: name, fields.ERROR: "ended by itself"})
            raise TaskFailedError(name, "ended by itself")
        return result


def _first_leaf(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first
