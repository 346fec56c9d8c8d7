"""What a test leaves running is reported as that test's failure: tasks, threads, child processes.

A pytest plugin. Tasks are looked at while the test's loop still exists, after every fixture of the
test is torn down; threads and processes after that. What wider fixtures started is theirs. A
straggler is given a moment to end, since joining is not always in a test's power.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

GRACE_SECONDS = 2.0
# (start of a thread's name, or part of it, why it may outlive a test)
ALLOWED_THREADS = (
    ("(_poll_wrapper)", "grpc.aio polls its completion queue in one thread a process"),
    ("pytest_timeout", "pytest-timeout's own timer"),
)
# (part of a child's command line, why it may outlive a test)
ALLOWED_PROCESSES = (
    ("multiprocessing.resource_tracker", "multiprocessing keeps one for the process"),
    ("multiprocessing.forkserver", "multiprocessing keeps one for the process"),
)

_before = pytest.StashKey[tuple[set[threading.Thread], set[int]]]()


@pytest_asyncio.fixture
async def no_leaked_tasks() -> AsyncIterator[None]:
    """Set up first and torn down last of a test's fixtures; see `pytest_collection_modifyitems`."""
    yield
    own = asyncio.current_task()
    tasks = [task for task in asyncio.all_tasks() if task is not own]
    if tasks:
        await asyncio.wait(tasks, timeout=GRACE_SECONDS / 10)
    if leaked := [task for task in tasks if not task.done()]:
        names = ", ".join(f"{task.get_name()} ({task.get_coro()})" for task in leaked)
        pytest.fail(f"leaked tasks: {names}", pytrace=False)


@pytest.fixture(autouse=True)
def _running_before(request: pytest.FixtureRequest) -> None:
    request.node.stash[_before] = (set(threading.enumerate()), _child_ids())


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if isinstance(item, pytest.Function) and pytest_asyncio.is_async_test(item):
            item.fixturenames.insert(0, "no_leaked_tasks")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    yield
    before = item.stash.get(_before, None)
    if before is None:
        return
    threads, children = before
    leaks = [*_leaked_threads(threads), *_leaked_processes(children)]
    if leaks:
        pytest.fail(f"left running: {', '.join(leaks)}", pytrace=False)


def _leaked_threads(before: set[threading.Thread]) -> list[str]:
    deadline = time.monotonic() + GRACE_SECONDS
    leaked = []
    for thread in set(threading.enumerate()) - before:
        if any(part in thread.name for part, _ in ALLOWED_THREADS):
            continue
        thread.join(max(0.0, deadline - time.monotonic()))
        if thread.is_alive():
            leaked.append(f"thread {thread.name}")
    return leaked


def _child_ids() -> set[int]:
    """Direct children, from the kernel's own list where it keeps one (it is cheap)."""
    try:
        lists = [path.read_text() for path in Path("/proc/self/task").glob("*/children")]
    except OSError:
        lists = []
    if lists:
        return {int(number) for text in lists for number in text.split()}
    return {child.pid for child in psutil.Process().children()}


def _leaked_processes(before: set[int]) -> list[str]:
    """Children that nobody waited for, running or not; a leaked one is killed."""
    leaked = []
    for number in _child_ids() - before:
        try:
            child = psutil.Process(number)
            command = " ".join(child.cmdline())
        except psutil.NoSuchProcess:
            continue
        except psutil.ZombieProcess:
            command = "(ended, nobody waited for it)"
        if any(part in command for part, _ in ALLOWED_PROCESSES):
            continue
        leaked.append(f"process {number} {command}")
        child.kill()
    return leaked
