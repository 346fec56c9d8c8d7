"""A blocking call inside a running event loop fails the test that made it.

A pytest plugin around blockbuster, which replaces blocking functions by ones that look for a
running loop. Added here: flushes and positioned file access, which blockbuster does not watch, and
a memory of what was caught, so that code which swallows the error still fails its test.
`@pytest.mark.may_block(reason="...")` exempts one test; `ALLOWED` exempts one function for all.
"""

from __future__ import annotations

import inspect
import os
import subprocess
from collections.abc import Generator, Iterator
from typing import Any

import blockbuster
import blockbuster.blockbuster as implementation
import pytest
from blockbuster.blockbuster import BlockBusterFunction

# (end of the file's path, function, why it may block its loop)
ALLOWED: tuple[tuple[str, str, str], ...] = (
    ("_pytest/assertion/util.py", "assertrepr_compare", "a failing assert reads its sources"),
    ("_pytest/_code/source.py", "findsource", "a failing assert reads its sources"),
    ("logging/__init__.py", "emit", "pytest's handlers write to memory"),
    ("inspect.py", "getmodule", "typing and dataclasses look up where they are defined"),
    # The socket does not block, and pages are sent only after a probe found them in memory.
    ("ottla_broker/transport/byte_ports.py", "send_file", "the socket does not wait"),
    # Where the file system cannot tell, a thread has read the pages a moment before.
    ("ottla_broker/transport/page_cache.py", "_read_after_thread", "the pages are in memory"),
    # What the storage does on its loop by design: the page cache takes and gives bytes at once.
    ("ottla_broker/storage/filesystem.py", "pwritev", "appends go to the page cache"),
    ("ottla_broker/storage/filesystem.py", "pread_cached", "the file system lives in memory"),
    ("hypothesis/core.py", "wrapped_test", "Hypothesis keeps its examples in files"),
)

_caught: list[str] = []


class CaughtBlockingError(blockbuster.BlockingError):
    """Raised in place of blockbuster's own error, and remembered until the test ends."""

    def __init__(self, function: str) -> None:
        super().__init__(function)
        frame = inspect.currentframe()
        caller = frame.f_back.f_back if frame and frame.f_back else None
        where = f"{caller.f_code.co_filename}:{caller.f_lineno}" if caller else "unknown place"
        _caught.append(f"{function} at {where}")


def _no_wait_asked(descriptor: int, *arguments: Any) -> bool:
    """Tells whether `preadv` and its like may not block: by flag, or by the descriptor's mode."""
    flags = arguments[2] if len(arguments) > 2 else 0
    return bool(flags & getattr(os, "RWF_NOWAIT", 0)) or not os.get_blocking(descriptor)


def _descriptor_does_not_block(descriptor: int, *_: Any) -> bool:
    return not os.get_blocking(descriptor)


def _additional_functions() -> list[BlockBusterFunction]:
    flushes = ("fsync", "fdatasync", "sync", "truncate", "ftruncate", "posix_fallocate")
    accesses = ("pread", "pwrite", "readv", "writev", "copy_file_range")
    functions = [BlockBusterFunction(os, name) for name in flushes if hasattr(os, name)]
    functions += [
        BlockBusterFunction(os, name, can_block_predicate=_descriptor_does_not_block)
        for name in accesses
        if hasattr(os, name)
    ]
    functions += [
        BlockBusterFunction(os, name, can_block_predicate=_no_wait_asked)
        for name in ("preadv", "pwritev")
        if hasattr(os, name)
    ]
    return [*functions, BlockBusterFunction(subprocess.Popen, "wait")]


def _guard() -> blockbuster.BlockBuster:
    guard = blockbuster.BlockBuster()
    guard.functions |= {function.full_name: function for function in _additional_functions()}
    for path, function, _ in ALLOWED:
        for watched in guard.functions.values():
            watched.can_block_in(path, function)
    return guard


class _LoopGuard:
    def __init__(self) -> None:
        self.guard = _guard()

    def pytest_sessionstart(self) -> None:
        vars(implementation)["BlockingError"] = CaughtBlockingError
        self.guard.activate()

    def pytest_sessionfinish(self) -> None:
        self.guard.deactivate()
        vars(implementation)["BlockingError"] = blockbuster.BlockingError

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        marker = item.get_closest_marker("may_block")
        if marker is None:
            return (yield)
        if not marker.kwargs.get("reason"):
            raise pytest.UsageError(f"{item.nodeid}: may_block needs a reason")
        self.guard.deactivate()
        try:
            return (yield)
        finally:
            self.guard.activate()

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_runtest_call(self) -> Iterator[None]:
        _caught.clear()
        yield
        if _caught:
            pytest.fail(f"blocked the event loop: {'; '.join(_caught)}", pytrace=False)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_LoopGuard(), "ottla-loop-guard")
