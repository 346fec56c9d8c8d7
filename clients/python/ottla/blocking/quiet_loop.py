"""The event loop of the blocking clients' thread: quiet beside others, of use to the very end.

It differs from the standard loop in three ways.

gRPC wakes all event loops of a process through one socket: each event is announced by one byte,
which every loop sees and one of them reads. In older releases the others' read fails with
BlockingIOError, which reaches the log of an application that did nothing wrong: its loop was alone
before ours came. The socket is handed to `add_reader` of each loop, ours too; there it is taught to
answer "nothing" instead, and gRPC looks into its queue as after any byte. (A read that is under way
at that very moment may still fail, once.)

What gRPC still has for a loop that ended, the rest of calls that were cancelled, it gives to
whichever loop comes by, which hands it to the ended one, fails, and says so. Ours takes it even
then; and what it comes by of loops that ended, as those of clients closed before, it drops.

At the interpreter's end Python starts no thread any more, while open producers still flush: what
would run in a thread runs in the loop then.
"""

from __future__ import annotations

import asyncio
import contextvars
import functools
import socket
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final, TypeVar, TypeVarTuple

if TYPE_CHECKING:
    from _typeshed import HasFileno

Ts = TypeVarTuple("Ts")
T = TypeVar("T")

_POLLER: Final = "PollerCompletionQueue"
_THREADS_MAX: Final = 4


class SharedWakeSocket(socket.socket):
    """The socket by which gRPC wakes event loops; what another loop has read is no error."""

    __slots__ = ()

    def recv(self, bufsize: int, flags: int = 0, /) -> bytes:
        try:
            return super().recv(bufsize, flags)
        except BlockingIOError:
            return b""


class QuietLoop(asyncio.SelectorEventLoop):
    """The standard loop, except for what is said above."""

    def __init__(self, *, is_leaving: Callable[[], bool]) -> None:
        super().__init__()
        self._threads = LastingExecutor(is_leaving)

    def add_reader(self, fd: int | HasFileno, callback: Callable[[*Ts], Any], *args: *Ts) -> None:
        if _is_grpc_poller(callback):
            if type(fd) is socket.socket:
                # Every loop reads through this one object, so all of them are quiet from here on.
                fd.__class__ = SharedWakeSocket
            callback = _unless_closed(callback)
        super().add_reader(fd, callback, *args)

    def call_soon_threadsafe(
        self,
        callback: Callable[[*Ts], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """As every loop's, while it is open; later the callback is never called."""
        try:
            return super().call_soon_threadsafe(callback, *args, context=context)
        except RuntimeError:
            if not self.is_closed():
                raise
        handle = asyncio.Handle(callback, args, self, context)
        handle.cancel()
        return handle

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As every loop's; by default in threads of its own."""
        return super().run_in_executor(executor or self._threads, func, *args)

    def close(self) -> None:
        super().close()
        self._threads.shutdown()


class LastingExecutor(ThreadPoolExecutor):
    """Threads for one loop; when there are no new ones, the caller's."""

    def __init__(self, is_leaving: Callable[[], bool]) -> None:
        super().__init__(_THREADS_MAX, thread_name_prefix="ottla-blocking-work")
        self._is_leaving = is_leaving

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        try:
            return super().submit(fn, *args, **kwargs)
        except RuntimeError:
            if not self._is_leaving():
                raise
        done: Future[T] = Future()
        try:
            done.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - it is the waiter's, as from a thread
            done.set_exception(error)
        return done


def _unless_closed(callback: Callable[[*Ts], Any]) -> Callable[[*Ts], Any]:
    """What is left of a loop that has ended is handed to the next one, and is nothing to it."""

    def handle(*args: *Ts) -> None:
        try:
            callback(*args)
        except RuntimeError as error:
            if str(error) != "Event loop is closed":
                raise

    return handle


def _is_grpc_poller(callback: Callable[..., Any]) -> bool:
    function = callback.func if isinstance(callback, functools.partial) else callback
    return type(getattr(function, "__self__", None)).__name__ == _POLLER
