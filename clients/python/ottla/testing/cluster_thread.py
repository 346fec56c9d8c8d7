"""The thread that the services of a cluster live in, with an event loop of its own.

Owns the thread, the loop, the data directory, and the jobs of other threads, which are done one
after another. A test may block, run any loop or none, and fail: the services neither notice nor
wait. They are loaded here too, since that takes a while and needs `ottla[server]`.

    start ─► services loaded ─► started ─► jobs … close ─► services ended ─► directory removed
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import tempfile
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from ottla.testing.cluster_error import ClusterError
from ottla.testing.cluster_plan import ClusterPlan
from ottla.testing.poller_noise import poller_unheard

if TYPE_CHECKING:
    from ottla.testing.running_services import RunningServices

_EXIT_SECONDS: Final = 10.0
_Result = TypeVar("_Result")


class _Job:
    """Something to do with the services, for whoever waits for its result."""

    def __init__(self, work: Callable[[RunningServices], Awaitable[Any]]) -> None:
        self.done = _uncancellable()
        self._work = work

    async def run(self, services: RunningServices) -> None:
        try:
            result = await self._work(services)
        except Exception as failed:  # noqa: BLE001 - the root of the job; raised where it was given
            self.done.set_exception(failed)
        else:
            self.done.set_result(result)


class ClusterThread:
    """Runs a plan from `start` to `close`, once. Any thread may call it."""

    def __init__(self, plan: ClusterPlan) -> None:
        self.services: RunningServices | None = None
        """The services once started; other threads read ports and paths of it."""
        self._plan = plan
        self._started = _uncancellable()
        self._ended = _uncancellable()
        self._closing = threading.Lock()
        self._is_closed = False
        self._ends_in_order = True
        self._process_id = os.getpid()
        self._thread = threading.Thread(target=self._run, name="ottla-testing", daemon=True)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._jobs: asyncio.Queue[_Job | None] = asyncio.Queue()

    def start(self) -> Future[None]:
        """Begin; what is returned is done when the services serve, or raises what went wrong."""
        assert self._loop is None, "a cluster runs once; make another"
        self._loop = asyncio.new_event_loop()
        atexit.register(self._exit)
        self._thread.start()
        return self._started

    def submit(self, work: Callable[[RunningServices], Awaitable[_Result]]) -> Future[_Result]:
        """Have the thread do something with its services, after what it was told before.

        Raises:
            ClusterError: the cluster is closed, or of another process.
        """
        job = _Job(work)
        with self._closing:
            if self._is_closed or self._process_id != os.getpid():
                raise ClusterError("this cluster is closed, or was started by another process")
            self._put(job)
        return job.done

    def close(self, *, in_order: bool) -> Future[None]:
        """End everything; what is returned is done when nothing is left. Again: the same."""
        with self._closing:
            if not self._is_closed and self._process_id == os.getpid():
                self._is_closed = True
                self._ends_in_order = in_order
                self._put(None)
        return self._ended

    def join(self) -> None:
        """Wait for the thread, whose end `close` has announced."""
        self._thread.join()
        atexit.unregister(self._exit)

    def _put(self, job: _Job | None) -> None:
        assert self._loop is not None, "only a cluster that was started has jobs"
        self._loop.call_soon_threadsafe(self._jobs.put_nowait, job)

    def _exit(self) -> None:
        """At the interpreter's end, of a cluster that nobody closed."""
        if self._process_id == os.getpid():
            with contextlib.suppress(Exception):
                self.close(in_order=False).result(_EXIT_SECONDS)

    def _run(self) -> None:
        """The thread."""
        loop = self._loop
        failure: BaseException | None = None
        assert loop is not None, "made before the thread"
        try:
            with (
                poller_unheard(),
                asyncio.Runner(loop_factory=lambda: loop) as runner,
            ):
                run_services = _service_runner()
                with self._data_dir() as data_dir:
                    runner.run(run_services(self._plan, data_dir, serve=self._serve))
        except BaseException as failed:  # noqa: BLE001 - the thread's root; raised to its users
            failure = failed
        with self._closing:
            self._is_closed = True
        self._leave(failure)

    def _leave(self, failure: BaseException | None) -> None:
        """Tell whoever waits, or will, that there is nothing any more."""
        while not self._jobs.empty():
            if (job := self._jobs.get_nowait()) is not None:
                job.done.set_exception(ClusterError("the cluster ended before it could do this"))
        if not self._started.done():
            self._started.set_exception(failure or ClusterError("the cluster ended at once"))
            failure = None
        if failure is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(failure)

    @contextlib.contextmanager
    def _data_dir(self) -> Iterator[Path]:
        if self._plan.data_dir is not None:
            self._plan.data_dir.mkdir(parents=True, exist_ok=True)
            yield self._plan.data_dir
            return
        with tempfile.TemporaryDirectory(prefix="ottla-testing-") as scratch:
            yield Path(scratch)

    async def _serve(self, services: RunningServices) -> bool:
        """Do what other threads ask for until the end is asked for; returns whether in order."""
        self.services = services
        self._started.set_result(None)
        while (job := await self._jobs.get()) is not None:
            await job.run(services)
        return self._ends_in_order


def _service_runner() -> Callable[..., Coroutine[Any, Any, None]]:
    """Loads the services. Raises ImportError."""
    try:
        from ottla.testing.running_services import run_services  # noqa: PLC0415 - needs the extra
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith("ottla"):
            raise
        raise ImportError(
            f"ottla.testing.cluster() runs real services, and {missing.name!r} is not installed;"
            " install ottla[server]"
        ) from missing
    return run_services


def _uncancellable() -> Future[Any]:
    """A future whose work goes on though the one who waits for it stops waiting."""
    future: Future[Any] = Future()
    future.set_running_or_notify_cancel()
    return future
