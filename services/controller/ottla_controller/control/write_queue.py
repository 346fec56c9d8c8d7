"""The one writer: handlers run in order, each on the state that shows all writes before it.

Owns the queue and turning a handler's steps into transactions that compare the controller epoch. A
store that fails, fails the command at hand; a write of unknown outcome stops the queue until
everything was read anew, and what waits meanwhile hears that the store does not answer. Ends when
the epoch no longer holds: another controller writes now.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Final, Generic, TypeVar

from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotAuthenticated,
    NotAuthorized,
    NotController,
    OttlaError,
    OutcomeUnknown,
    Throttled,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import ControllerRecord
from ottla_controller.control.image import ClusterImage
from ottla_controller.core.result import Change, Put, Result, transactions
from ottla_controller.core.state import ClusterState
from ottla_controller.store.election import Leadership
from ottla_controller.store.interface import DeleteKey, MetadataStore, Operation, PutKey

Response = TypeVar("Response")
Handler = Callable[[ClusterState], Result[Response]]

COMMANDS_MAX: Final = 1_000
URGENT_ROOM: Final = 1_000
"""So many more commands are taken if they are urgent: the flood that fills the queue comes from
clients, and must not keep brokers from being registered and fenced."""
_URGENT: Final = 0
_ORDINARY: Final = 1
_RETRY_AFTER_MS: Final = 100


@dataclass(frozen=True, slots=True)
class Written(Generic[Response]):
    """A command that was done."""

    response: Response
    revision: int
    """From this revision on it shows; that of the state it was decided on if it wrote nothing."""


@dataclass(frozen=True, slots=True)
class _Command:
    handler: Handler[Any]
    done: asyncio.Future[Written[Any]]


class WriteQueue:
    """Commands of one term, in order. `run` is its one task."""

    def __init__(self, store: MetadataStore, image: ClusterImage, leadership: Leadership) -> None:
        self._store = store
        self._image = image
        self._leadership = leadership
        self._order = count()
        self._closed = False
        self._commands: asyncio.PriorityQueue[tuple[int, int, _Command]] = asyncio.PriorityQueue(
            COMMANDS_MAX + URGENT_ROOM
        )
        self.left_undone = asyncio.Event()
        """Set when a command failed, perhaps half done: the records tell what is missing."""

    def submit(
        self, handler: Handler[Response], *, urgent: bool = False
    ) -> asyncio.Future[Written[Response]]:
        """Queues a handler; the future holds its response once it is written and shows.

        It fails with what the handler raised, `MetadataStoreUnavailable`, `OutcomeUnknown`, or
        `NotController` when the term ends first.

        Raises:
            Throttled: the queue is full.
            NotController: the term is over.
        """
        if self._closed:
            raise term_over()
        done: asyncio.Future[Written[Response]] = asyncio.get_running_loop().create_future()
        done.add_done_callback(_seen)
        order = (_URGENT if urgent else _ORDINARY, next(self._order))
        if self._commands.full() or (not urgent and self._commands.qsize() >= COMMANDS_MAX):
            raise Throttled(
                f"{self._commands.qsize()} changes of metadata wait already",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        self._commands.put_nowait((*order, _Command(handler, done)))
        return done

    async def finish(self) -> None:
        """Takes nothing more, and returns once what was taken is done. `run` is running."""
        self._closed = True
        await self._commands.join()

    async def run(self) -> None:
        """Does one command after the other until the epoch no longer holds, or cancelled.

        Raises:
            NotController: another controller writes now.
        """
        try:
            while True:
                _, _, command = await self._commands.get()
                try:
                    await self._do(command)
                finally:
                    self._commands.task_done()
        finally:
            self._close()

    async def _do(self, command: _Command) -> None:
        try:
            written = await self._written(command.handler)
        except NotController as error:
            _fail(command, error)
            raise
        except asyncio.CancelledError:
            # A transaction may be on its way: nobody can say what became of it.
            _fail(command, OutcomeUnknown("this controller ended while it wrote"))
            raise
        except MetadataStoreUnavailable as error:
            self.left_undone.set()
            _fail(command, error)
        except OutcomeUnknown as error:
            self.left_undone.set()
            _fail(command, error)
            await self._image.read_anew(self._refuse_waiting)
        except OttlaError as error:
            _fail(command, error)
        except Exception as error:  # noqa: BLE001 - a handler mutates nothing: its bug is the caller's
            _fail(command, error)
        else:
            if not command.done.done():
                command.done.set_result(written)

    async def _written(self, handler: Handler[Response]) -> Written[Response]:
        result = handler(self._image.state)
        revision = 0
        for changes in transactions(result.steps):
            revision = await self._commit(changes)
        await self._image.wait_applied(revision)
        return Written(result.response, revision or self._image.visible_revision)

    async def _commit(self, changes: Sequence[Change]) -> int:
        operations = [_operation(change) for change in changes]
        before = self._image.state.revision
        try:
            done = await self._store.transact([self._leadership.compare()], operations)
        except (NotAuthenticated, NotAuthorized) as error:
            # It is this controller that may not, not whoever asked it.
            raise MetadataStoreUnavailable(f"the metadata store: {error.message}") from error
        if not done.succeeded:
            raise term_over()
        if done.revision <= before:
            self._image.note_restored()
            raise went_back()
        return done.revision

    def _close(self) -> None:
        self._closed = True
        self._refuse_waiting(term_over())

    def _refuse_waiting(self, error: OttlaError) -> None:
        """Fails what is queued: nothing of it was begun."""
        while not self._commands.empty():
            _, _, command = self._commands.get_nowait()
            self._commands.task_done()
            _fail(command, error)


def went_back() -> NotController:
    """Why a term ends whose store turns out to hold a backup."""
    return NotController("the metadata store has gone back: it was restored from a backup")


def term_over(active: ControllerRecord | None = None) -> NotController:
    """What callers hear of a controller that is not the active one, with the one that is."""
    message = "this controller is not the active one"
    if active is None or not active.endpoints:
        return NotController(message, retry_after_ms=_RETRY_AFTER_MS)
    owner = active.endpoints[0]
    details = {"owner_host": owner.host, "owner_port": owner.port}
    return NotController(f"{message}, controller {active.node_id} is", metadata=details)


def _operation(change: Change) -> Operation:
    if isinstance(change, Put):
        return PutKey(change.key, change.record.SerializeToString(deterministic=True))
    return DeleteKey(change.key)


def _fail(command: _Command, error: Exception) -> None:
    if not command.done.done():
        command.done.set_exception(error)


def _seen(done: asyncio.Future[Written[Any]]) -> None:
    """Whoever waited may be gone; that is no error of its own."""
    if not done.cancelled():
        done.exception()
