"""What all blocking clients have in common: opened, used from any thread, closed.

Owns the rules of use (open, not closed, not after fork) and turning a coroutine method of the
asyncio client into a method that waits. The work is the asyncio client's.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, TypeVar

from ottla.blocking.loop_thread import LoopThread, Work, current
from ottla.client.forks import made_before_fork, tell_when_forked
from ottla.protocol.errors import InvalidRequest, OttlaError

P = ParamSpec("P")
T = TypeVar("T")


class AsyncClient(Protocol):
    """The asyncio client behind a blocking one."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...


Inner = TypeVar("Inner", bound=AsyncClient)


class Face(Generic[Inner]):
    """A blocking client around an asyncio one, which is touched on the loop only."""

    def __init__(self, inner: Inner) -> None:
        self._inner = inner
        self._thread: LoopThread | None = None
        self._is_closed = False
        self._is_forked = False
        self._served = _Served(self)
        tell_when_forked(self._served)

    def _open(self, work: Work[None]) -> None:
        self._check_process()
        if self._thread is not None or self._is_closed:
            raise InvalidRequest("a client is opened once; make a new one")
        thread = current()
        thread.attach(self._served)
        self._thread = thread
        try:
            thread.call(work)
        except OttlaError:  # nothing was opened; it may be tried again
            self._thread = None
            thread.detach(self._served)
            raise
        except BaseException:
            self._close(self._inner.close)
            raise

    def _close(self, work: Work[None]) -> None:
        self._check_process()
        self._check_caller()
        thread = self._thread
        self._is_closed = True
        if thread is not None:
            try:
                thread.call(work)
            except OttlaError:
                raise
            except BaseException as interruption:  # perhaps before it began
                try:
                    thread.call(lambda: self._leave(0))
                except OttlaError as failed:
                    interruption.add_note(f"the client was closed: {failed.message}")
                raise
            finally:
                self._detach()

    def _detach(self) -> None:
        thread, self._thread = self._thread, None
        self._is_closed = True
        if thread is not None:
            thread.detach(self._served)

    def _call(self, work: Work[T], *, give_back: Callable[[T], None] | None = None) -> T:
        return self._running().call(work, give_back=give_back)

    def _moving(self) -> AbstractContextManager[object]:
        """Held while something is changed that callers' threads use too."""
        return nullcontext()

    def _running(self) -> LoopThread:
        """The thread of a client that can be used. Raises InvalidRequest."""
        self._check_process()
        if self._thread is None:
            state = "closed" if self._is_closed else "not open yet; use `with` or `open()`"
            raise InvalidRequest(f"the client is {state}")
        return self._thread

    def _check_caller(self) -> None:
        """Return if this thread may wait for the client's. Raises InvalidRequest in a callback."""
        thread = self._thread
        if thread is not None:
            thread.check_caller()

    def _check_process(self) -> None:
        if self._is_forked:
            raise made_before_fork()

    def _forked(self) -> None:
        """This is a child process: only the parent may use the client."""
        self._is_forked = True

    async def _leave(self, timeout_ms: int) -> None:
        """Close within a time; again: nothing."""
        await self._inner.close()


class _Served:
    """A client as its thread and the process see it: whom they tell of their ends."""

    def __init__(self, face: Face[Any]) -> None:
        self._face = face

    @property
    def is_open(self) -> bool:
        return self._face._thread is not None

    def forked(self) -> None:
        self._face._forked()

    async def leave(self, timeout_ms: int) -> None:
        await self._face._leave(timeout_ms)


def waiting(
    method: Callable[Concatenate[Any, P], Coroutine[Any, Any, T]], *, moves: bool = False
) -> Callable[Concatenate[Face[Any], P], T]:
    """The method of a blocking client that does what this one of the asyncio client does.

    Args:
        method: of the asyncio client.
        moves: whether it changes what callers' threads hold of the client, outside the loop.
    """

    @functools.wraps(method)
    def call(self: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        self._check_caller()
        with self._moving() if moves else nullcontext():
            return self._call(lambda: method(self._inner, *args, **kwargs))

    return call


def crossing(
    method: Callable[Concatenate[Any, P], T],
) -> Callable[Concatenate[Face[Any], P], T]:
    """The same for a method that doesn't wait, but must run on the loop."""

    @functools.wraps(method)
    def call(self: Face[Any], /, *args: P.args, **kwargs: P.kwargs) -> T:
        async def run() -> T:
            return method(self._inner, *args, **kwargs)

        self._check_caller()
        with self._moving():
            return self._call(run)

    return call
