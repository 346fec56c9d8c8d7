"""One term of the active controller: its epoch, its writer, the sessions, and what it does unasked.

Owns the sessions and the duties of a term: fencing who fell silent, finishing what a controller
that died left half done, forgetting old revisions. Everything here ends with the term.
"""

from __future__ import annotations

import asyncio
from typing import Final

import structlog

from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import HeartbeatRequest, RegisterBrokerRequest
from ottla.protocol.errors import NotController, OttlaError
from ottla_controller.control.image import ClusterImage
from ottla_controller.control.write_queue import Handler, Response, WriteQueue, Written
from ottla_controller.core import brokers, heartbeats, registration
from ottla_controller.core.generations import (
    NOWHERE,
    Position,
    StoreFacts,
    registration_was_lost,
    settle_generation,
)
from ottla_controller.core.heartbeats import Action, BrokerStanding
from ottla_controller.core.record_keys import RECORDS_PREFIX
from ottla_controller.core.result import Result
from ottla_controller.core.sessions import SessionTable
from ottla_controller.core.state import ClusterState
from ottla_controller.core.topic_deletion import sweep
from ottla_controller.store.election import Leadership
from ottla_controller.store.interface import MetadataStore
from ottla_runtime import fields
from ottla_runtime.clock import Clock

TICK_MS: Final = 100
RETRY_MS: Final = 500
_ACTION_WAIT_SECONDS: Final = 0.2

_logger = structlog.get_logger(__name__)


class Term:
    """What the active controller is, from winning to losing. Its tasks are run by `Controller`."""

    def __init__(
        self,
        store: MetadataStore,
        image: ClusterImage,
        leadership: Leadership,
        *,
        clock: Clock,
        session_timeout_ms: int,
    ) -> None:
        self.epoch = leadership.epoch
        self.writer = WriteQueue(store, image, leadership)
        self._store = store
        self._image = image
        self._clock = clock
        self._sessions = SessionTable(session_timeout_ms=session_timeout_ms)
        self._underway: dict[int, asyncio.Future[Written[bool]]] = {}
        self._told = NOWHERE
        self._was_told = asyncio.Event()

    def take_over(self) -> None:
        """Gives every broker that is registered one full session."""
        now_ms = self._clock.monotonic_ms()
        for broker in self._image.state.brokers.values():
            self._sessions.begin(
                broker.node_id,
                broker_epoch=broker.broker_epoch,
                registered_revision=0,
                now_ms=now_ms,
            )
        self.writer.left_undone.set()  # by whoever led before

    def note_published(self) -> None:
        """The metadata that brokers see has changed."""
        self._sessions.note_revision(
            self._image.visible_revision, now_ms=self._clock.monotonic_ms()
        )

    async def register(self, request: RegisterBrokerRequest) -> Written[int]:
        """Registers a broker and begins its session; the response is its epoch."""

        def handler(state: ClusterState) -> Result[int]:
            remaining_ms = self._sessions.remaining_ms(
                request.node_id, now_ms=self._clock.monotonic_ms()
            )
            return registration.register(state, request, session_remaining_ms=remaining_ms)

        registration.check_request(request)
        await self._settle_before(request)
        written = await self.write(handler, urgent=True)
        self._sessions.begin(
            request.node_id,
            broker_epoch=written.response,
            registered_revision=written.revision,
            now_ms=self._clock.monotonic_ms(),
        )
        return written

    async def heartbeat(self, request: HeartbeatRequest) -> BrokerStanding:
        """Takes a heartbeat; waits a little for what it sets in motion, the next one sees it."""
        now_ms = self._clock.monotonic_ms()
        action = heartbeats.hear(self._image.state, self._sessions, request, now_ms=now_ms)
        self.note_applied(_position(request.applied_version))
        if action is not Action.NONE and request.node_id not in self._underway:
            self._begin(action, request)
        underway = self._underway.get(request.node_id)
        if underway is not None:
            await asyncio.wait({underway}, timeout=_ACTION_WAIT_SECONDS)
        return heartbeats.standing(self._image.state, request)

    def note_applied(self, position: Position) -> None:
        """A broker has applied this; what the store has not come to is looked into beside."""
        if self._is_ahead(position) and position > self._told:
            self._told = position
            self._was_told.set()

    def note_lost(self) -> None:
        """The image tells of a loss."""
        self._was_told.set()

    async def run_restore_checks(self) -> None:
        """Settles the generation where brokers have seen more than the store has. Until cancelled.

        A broker may be ahead of this controller because it follows another one; only the store
        itself can tell.
        """
        while True:
            await self._was_told.wait()
            self._was_told.clear()
            told, self._told = self._told, NOWHERE
            try:
                await self._settle(told)
            except NotController:
                raise
            except OttlaError as error:  # the next heartbeat tells of it again
                _logger.warning("restore_check.failed", **{fields.ERROR: str(error)})

    async def _settle_before(self, request: RegisterBrokerRequest) -> None:
        """A registration may show that the store was restored; the generation rises first."""
        told = NOWHERE
        if request.HasField("applied_version"):
            told = _position(request.applied_version)
        if self._is_ahead(told) or registration_was_lost(self._image.state, request):
            await self._settle(told, request)

    def _is_ahead(self, position: Position) -> bool:
        state = self._image.state
        return position > (state.cluster.generation, state.revision)

    async def _settle(self, told: Position, request: RegisterBrokerRequest | None = None) -> None:
        page = await self._store.read(RECORDS_PREFIX, limit=1)
        facts = StoreFacts(self._store.store_id, page.revision)

        def handler(state: ClusterState) -> Result[bool]:
            lost = self._image.lost_generation
            if request is not None and registration_was_lost(state, request):
                lost = max(lost, state.cluster.generation)
            return settle_generation(state, store=facts, seen=told, lost_generation=lost)

        if (await self.write(handler, urgent=True)).response:
            log_restored(self._image.state)

    async def write(self, handler: Handler[Response], *, urgent: bool = False) -> Written[Response]:
        """Queues a handler and waits until what it decided shows."""
        return await asyncio.shield(self.writer.submit(handler, urgent=urgent))

    async def run_sessions(self) -> None:
        """Fences the brokers whose sessions are over, until cancelled."""
        last_ms = self._clock.monotonic_ms()
        while True:
            await self._clock.sleep_until(last_ms + TICK_MS)
            now_ms = self._clock.monotonic_ms()
            lag_ms = now_ms - last_ms - TICK_MS
            last_ms = now_ms
            if lag_ms > TICK_MS:
                # Heartbeats that came meanwhile were not read: nobody is to blame for the silence.
                self._sessions.extend(lag_ms)
                _logger.warning("sessions.extended", **{fields.LAG_MS: lag_ms})
            for node_id, broker_epoch in self._sessions.expired(now_ms):
                if node_id not in self._underway:
                    self._expire(node_id, broker_epoch)

    async def run_repairs(self) -> None:
        """Finishes what was left undone, and removes what was deleted, until cancelled."""
        while True:
            try:
                if self.writer.left_undone.is_set():
                    self.writer.left_undone.clear()
                    await self.write(brokers.reconcile)
                while self._image.state.has_leftovers:
                    # After what is queued: what is half done then has nobody any more.
                    await self.write(sweep)
            except NotController:
                raise
            except OttlaError as error:
                self.writer.left_undone.set()
                _logger.warning("repair.failed", **{fields.ERROR: str(error)})
            await self._clock.sleep_until(self._clock.monotonic_ms() + RETRY_MS)

    def _begin(self, action: Action, request: HeartbeatRequest) -> None:
        node_id, broker_epoch = request.node_id, request.broker_epoch
        failed = tuple(request.offline_directory_ids)

        def handler(state: ClusterState) -> Result[bool]:
            match action:
                case Action.UNFENCE:
                    alive = self._sessions.remaining_ms(node_id, now_ms=self._clock.monotonic_ms())
                    if not alive:
                        return Result(False)
                    return brokers.unfence(state, node_id=node_id, broker_epoch=broker_epoch)
                case Action.DRAIN:
                    return brokers.drain(state, node_id=node_id, broker_epoch=broker_epoch)
                case Action.SHUT_DOWN:
                    return brokers.fence(state, node_id=node_id, broker_epoch=broker_epoch)
                case Action.FAIL_DIRECTORIES:
                    return brokers.fail_directories(
                        state, node_id=node_id, broker_epoch=broker_epoch, directory_ids=failed
                    )
                case Action.NONE:
                    return Result(False)

        self._start(node_id, broker_epoch, handler, event=_EVENTS[action])

    def _expire(self, node_id: int, broker_epoch: int) -> None:
        def handler(state: ClusterState) -> Result[bool]:
            if self._sessions.remaining_ms(node_id, now_ms=self._clock.monotonic_ms()):
                return Result(False)  # it was heard of while this waited
            result = brokers.fence(state, node_id=node_id, broker_epoch=broker_epoch)
            if not result.response:
                self._sessions.end(node_id)
            return result

        self._start(node_id, broker_epoch, handler, event="broker.fenced")

    def _start(
        self, node_id: int, broker_epoch: int, handler: Handler[bool], *, event: str
    ) -> None:
        """Queues a change of a broker's standing, one at a time for each broker."""
        try:
            done = self.writer.submit(handler, urgent=True)
        except OttlaError as error:  # the next tick or heartbeat asks again
            _logger.warning("broker.change_deferred", **{fields.ERROR: str(error)})
            return

        def finished(written: asyncio.Future[Written[bool]]) -> None:
            self._underway.pop(node_id, None)
            if written.cancelled() or written.exception() is not None:
                return
            if written.result().response:
                _logger.info(event, broker=node_id, **{fields.BROKER_EPOCH: broker_epoch})

        self._underway[node_id] = done
        done.add_done_callback(finished)


def log_restored(state: ClusterState) -> None:
    """The generation has risen, which somebody should know of."""
    _logger.warning("metadata_store.restored", generation=state.cluster.generation)


def _position(version: MetadataVersion) -> Position:
    return Position(version.generation, version.revision)


_EVENTS: Final = {
    Action.UNFENCE: "broker.unfenced",
    Action.DRAIN: "broker.drained",
    Action.SHUT_DOWN: "broker.shut_down",
    Action.FAIL_DIRECTORIES: "broker.directories_failed",
}
