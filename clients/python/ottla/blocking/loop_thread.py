"""The one private thread of a process on whose event loop all blocking clients work.

Owns the thread's life (from the first client opened to the last one closed), crossing into it, and
what becomes of open clients when the process forks or the interpreter ends. What the clients do
there is their own: the asyncio client's work.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from typing import Any, Final, Generic, Protocol, TypeVar

from ottla.blocking.latch import Latch
from ottla.blocking.quiet_loop import QuietLoop
from ottla.client import leaving
from ottla.protocol.errors import InvalidRequest, OttlaError

_log = logging.getLogger(__name__)

T = TypeVar("T")
Work = Callable[[], Coroutine[Any, Any, T]]

THREAD_NAME: Final = "ottla-blocking"
EXIT_FLUSH_MS = 5_000
"""How long the end of the interpreter waits for what open producers hold."""


class OpenClient(Protocol):
    """What the thread asks of a client it serves."""

    async def leave(self, timeout_ms: int) -> None:
        """Send what is left within a time, and close: the interpreter ends."""
        ...


class LoopThread:
    """All methods but `call`'s work run in callers' threads; any number of them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._group: asyncio.TaskGroup | None = None
        self._thread: threading.Thread | None = None
        self._last_thread: threading.Thread | None = None
        self._end: asyncio.Event | None = None
        self._is_over = False
        self._clients: dict[OpenClient, None] = {}
        self.ident: int | None = None
        """Of the thread that runs, for who asks often."""

    # Life

    def attach(self, client: OpenClient) -> None:
        """The client needs the thread until it is detached. Raises InvalidRequest at exit."""
        with self._lock:
            if self._is_over:
                raise InvalidRequest("the interpreter is ending: no client can be opened")
            if self._thread is None:
                self._start()
            self._clients[client] = None

    def detach(self, client: OpenClient) -> None:
        """The client is closed; the last one takes the thread with it."""
        ended = None
        with self._lock:
            self._clients.pop(client, None)
            if not self._clients:
                ended = self._stop()
        if ended is not None:
            ended.join()

    def _start(self) -> None:
        ready = threading.Event()
        self._thread = threading.Thread(
            target=self._main, args=(ready, self._last_thread), name=THREAD_NAME, daemon=True
        )
        self._thread.start()
        ready.wait()

    def _stop(self) -> threading.Thread | None:
        loop, self._loop = self._loop, None
        self._last_thread, self._thread, self.ident = self._thread, None, None
        if loop is not None and self._end is not None:
            loop.call_soon_threadsafe(self._end.set)
        return self._last_thread

    def _main(self, ready: threading.Event, previous: threading.Thread | None) -> None:
        if previous is not None:
            previous.join()  # there is never more than one loop
        with asyncio.Runner(loop_factory=lambda: QuietLoop(is_leaving=self._is_leaving)) as runner:
            runner.run(self._serve(ready))

    def _is_leaving(self) -> bool:
        return self._is_over

    async def _serve(self, ready: threading.Event) -> None:
        self._end = asyncio.Event()
        self.ident = threading.get_ident()
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._loop = asyncio.get_running_loop()
            own = asyncio.current_task()
            ready.set()
            await self._end.wait()
            for task in asyncio.all_tasks() - {own}:
                task.cancel()  # calls of clients that were closed meanwhile

    # Crossing

    def call(self, work: Work[T], *, give_back: Callable[[T], None] | None = None) -> T:
        """Run `work` on the loop and wait for its result.

        Interrupted (Ctrl-C), it cancels the work and waits until that has ended.

        Args:
            work: makes the coroutine to run.
            give_back: called with a result that came too late for an interrupted caller.

        Raises:
            InvalidRequest: no client is open any more, or the caller is the loop itself.
            BaseException: what the work raises.
        """
        self.check_caller()
        call = _Call(work)
        try:
            self.post(lambda: call.begin(self._group))
            call.wait()
        except InvalidRequest:
            raise  # it was never begun
        except BaseException:
            self._cancel(call, give_back)
            raise
        return call.result()

    def check_caller(self) -> None:
        """Return if this thread may wait for the loop. Raises InvalidRequest on the loop itself.

        Asked before a lock is taken, too: who holds it may be waiting for the loop.
        """
        if threading.get_ident() == self.ident:
            raise InvalidRequest(
                "a blocking call from a callback would wait for itself; make it in another thread"
            )

    def _cancel(self, call: _Call[T], give_back: Callable[[T], None] | None) -> None:
        try:
            self.post(call.cancel)
        except InvalidRequest:
            call.cancel()  # the loop has ended; if it was ever begun, the call has too
        call.wait()  # what is cancelled ends at once
        if give_back is not None and call.succeeded():
            give_back(call.result())

    def post(self, callback: Callable[[], object]) -> None:
        """Have the loop call back soon. Raises InvalidRequest if no client is open."""
        with self._lock:
            if self._loop is None:
                raise InvalidRequest("the client is closed")
            self._loop.call_soon_threadsafe(callback)

    # Ends

    def leave(self) -> None:
        """The interpreter ends: close what is open, within a bound."""
        with self._lock:
            self._is_over = True
            clients = list(self._clients)
        if clients and self._thread is not None and self._thread.is_alive():
            self.call(lambda: _leave_all(clients, EXIT_FLUSH_MS))
        for client in clients:
            self.detach(client)


async def _leave_all(clients: list[OpenClient], timeout_ms: int) -> None:
    async with asyncio.TaskGroup() as group:
        for client in clients:
            group.create_task(_leave(client, timeout_ms), name="ottla-blocking-exit")


async def _leave(client: OpenClient, timeout_ms: int) -> None:
    try:
        await client.leave(timeout_ms)
    except OttlaError as error:  # nobody is left to catch it
        _log.warning("a client that was open at the interpreter's end: %s", error.message)


class _Call(Generic[T]):
    """One crossing: begun and ended on the loop, waited for in the caller's thread."""

    def __init__(self, work: Work[T]) -> None:
        self._work = work
        self._end = Latch()
        self._task: asyncio.Task[None] | None = None
        self._result: Future[T] = Future()

    def begin(self, group: asyncio.TaskGroup | None) -> None:
        assert group is not None, "posted to a loop that runs"
        if self._end.is_open:
            return  # cancelled before
        self._task = group.create_task(self._run(), name="ottla-blocking-call")
        self._task.add_done_callback(self._settle)

    async def _run(self) -> None:
        try:
            result = await self._work()
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - the root: it is the caller's to handle
            self._result.set_exception(error)
        else:
            self._result.set_result(result)

    def _settle(self, _: object = None) -> None:
        if not self._result.done():
            self._result.set_exception(InvalidRequest("the client was closed during the call"))
        self._end.open()

    def cancel(self) -> None:
        if self._task is None:
            self._settle()
        else:
            self._task.cancel()

    def wait(self) -> None:
        self._end.wait()

    def succeeded(self) -> bool:
        return self._result.exception() is None

    def result(self) -> T:
        return self._result.result()


class _OfProcess:
    """Which thread is the process's one: a child process has another, once it needs one."""

    thread = LoopThread()

    @classmethod
    def forked(cls) -> None:
        cls.thread = LoopThread()

    @classmethod
    def leave(cls) -> None:
        cls.thread.leave()


def current() -> LoopThread:
    """The process's one."""
    return _OfProcess.thread


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_OfProcess.forked)

leaving.flush_first(_OfProcess.leave)
