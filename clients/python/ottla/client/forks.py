"""What becomes of clients when the process forks.

Owns the rule that a client belongs to the process that made it, and gRPC's part in that. In a child
its thread is missing, so that calls would never end; where it ran when the process was forked, no
client can be opened in the child, and one whose channels went away there would wait for that thread
for ever: so they stay. Forking before the first client is opened, or after the last one is closed,
leaves the child free.
"""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol

import grpc

from ottla.client import FORK_SUPPORT, SETS_FORK_SUPPORT, leaving
from ottla.protocol.errors import InvalidRequest

_POLLER: Final = "_poll_wrapper"
_NATIVE_THREADS: Final = (
    "event_engine", "lifeguard", "timer_manager", "grpc_", "default-execut", "resolver-execut"
)  # fmt: skip
_ENDING_SECONDS: Final = 2.0
_TASKS: Final = Path("/proc/self/task")


class Forked(Protocol):
    """Something that lives in one process."""

    @property
    def is_open(self) -> bool:
        """It may be using gRPC."""
        ...

    def forked(self) -> None:
        """This is a child process."""
        ...


class _Process:
    """What this process is to its clients."""

    def __init__(self) -> None:
        self.clients: weakref.WeakSet[Forked] = weakref.WeakSet()
        self.channels: dict[weakref.ref[grpc.aio.Channel], None] = {}
        self.last_gone_seconds = -_ENDING_SECONDS
        self.shares_grpc = False
        self.forks_with_grpc = False
        self.lacks_grpc = False

    def will_fork(self) -> None:
        if not self.shares_grpc and not any(client.is_open for client in self.clients):
            if self.channels:
                gc.collect()  # calls that failed may keep what they were made of
            self._until_grpc_is_down()
        self.forks_with_grpc = _has_poller() or (SETS_FORK_SUPPORT and _has_native_threads())

    def _until_grpc_is_down(self) -> None:
        """Let gRPC end: a thread of its own does that, milliseconds after the last channel went.

        A child that is forked amid that inherits a lock which nobody gives back.
        """
        deadline = self.last_gone_seconds + _ENDING_SECONDS
        while time.monotonic() < deadline and (_has_poller() or _has_native_threads()):
            time.sleep(0.001)

    def open_channel(self, opener: Callable[[], grpc.aio.Channel]) -> grpc.aio.Channel:
        if not self.channels and time.monotonic() >= self.last_gone_seconds + _ENDING_SECONDS:
            # Somebody else's then, so that it doesn't end with our channels.
            self.shares_grpc = _has_poller() or _has_native_threads()
        channel = opener()
        self.channels[weakref.ref(channel, self._gone)] = None
        return channel

    def _gone(self, reference: weakref.ref[grpc.aio.Channel]) -> None:
        self.channels.pop(reference, None)
        self.last_gone_seconds = time.monotonic()

    def is_child(self) -> None:
        if self.forks_with_grpc:
            self.lacks_grpc = True
            _keep_for_ever([each for reference in self.channels if (each := reference())])
        for client in list(self.clients):
            client.forked()
        leaving.forget_all()


_process: Final = _Process()


def tell_when_forked(client: Forked) -> None:
    """Have a client told in a child process."""
    _process.clients.add(client)


def noted_channel(opener: Callable[[], grpc.aio.Channel]) -> grpc.aio.Channel:
    """The channel that `opener` makes, which a child process will inherit while it is open."""
    return _process.open_channel(opener)


def check_grpc() -> None:
    """Return if gRPC can be used in this process. Raises InvalidRequest."""
    if _process.lacks_grpc:
        raise InvalidRequest(
            "this process was forked while gRPC was in use, and can't use it; fork before the "
            'first client is opened, or start processes another way, as multiprocessing\'s "spawn"'
        )


def made_before_fork() -> InvalidRequest:
    """What using another process's client raises."""
    return InvalidRequest("the client was made before fork(); make it in the child process")


def _has_poller() -> bool:
    """Whether the thread runs on which gRPC's part for asyncio lives while it has any channel."""
    return any(_POLLER in each.name for each in threading.enumerate())


def _has_native_threads() -> bool:
    """Whether gRPC has threads that are not Python's, as far as the system tells."""
    return any(name.startswith(_NATIVE_THREADS) for name in _thread_names())


def _thread_names() -> Iterator[str]:
    with contextlib.suppress(OSError):  # no such folder: the system doesn't tell
        for task in _TASKS.iterdir():
            with contextlib.suppress(OSError):  # it ended meanwhile
                yield (task / "comm").read_text(encoding="utf-8", errors="replace")


def _keep_for_ever(channels: list[grpc.aio.Channel]) -> None:
    """Never let these go, not even when the interpreter ends: their end would wait for ever."""
    import ctypes  # noqa: PLC0415 - only for who forks in the middle of things

    for channel in channels:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(channel))


if SETS_FORK_SUPPORT:
    os.environ.pop(FORK_SUPPORT, None)  # gRPC has read it; programs we start are not to
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_process.will_fork, after_in_child=_process.is_child)
