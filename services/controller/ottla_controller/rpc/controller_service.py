"""ControllerService: what brokers ask of the controller.

Owns taking requests apart and putting answers together, and the stream of metadata, which every
controller serves; all else needs the active one. Raised errors become statuses in the runtime's
interceptor.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Final

import grpc

from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc
from ottla.protocol.errors import Draining, TooManyConnections
from ottla_controller.control.controller import Controller
from ottla_controller.control.feed import Delta, MetadataFeed, Snapshot
from ottla_controller.core.controllers import active_controller
from ottla_controller.core.directories import assign_directories
from ottla_controller.core.generations import Position
from ottla_controller.core.isr_changes import alter_partitions
from ottla_controller.core.leader_epoch_floors import raise_leader_epochs

_RETRY_AFTER_MS: Final = 1_000
_Context = grpc.aio.ServicerContext[Any, Any]
_Message = controller_pb2.WatchClusterMetadataResponse


class ControllerServicer(controller_pb2_grpc.ControllerServiceServicer):
    """The RPCs, called by the server's tasks."""

    def __init__(
        self,
        controller: Controller,
        feed: MetadataFeed,
        *,
        session_timeout_ms: int,
        heartbeat_interval_ms: int,
        watchers_max: int,
    ) -> None:
        self._controller = controller
        self._feed = feed
        self._session_timeout_ms = session_timeout_ms
        self._heartbeat_interval_ms = heartbeat_interval_ms
        self._watchers_max = watchers_max
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Ends every stream of metadata; their brokers go elsewhere."""
        self._draining.set()
        self._feed.wake()

    async def RegisterBroker(
        self, request: controller_pb2.RegisterBrokerRequest, context: _Context
    ) -> controller_pb2.RegisterBrokerResponse:
        term = self._controller.term()
        written = await term.register(request)
        return controller_pb2.RegisterBrokerResponse(
            cluster_id=self._controller.image.state.cluster.cluster_id,
            broker_epoch=written.response,
            controller_epoch=term.epoch,
            session_timeout_ms=self._session_timeout_ms,
            heartbeat_interval_ms=self._heartbeat_interval_ms,
            metadata_version=self._controller.image.version_at(written.revision),
        )

    async def Heartbeat(
        self, request: controller_pb2.HeartbeatRequest, context: _Context
    ) -> controller_pb2.HeartbeatResponse:
        term = self._controller.term()
        standing = await term.heartbeat(request)
        return controller_pb2.HeartbeatResponse(
            fenced=standing.fenced,
            may_shut_down=standing.may_shut_down,
            controller_epoch=term.epoch,
            metadata_version=self._controller.image.version,
        )

    async def AlterPartitions(
        self, request: controller_pb2.AlterPartitionsRequest, context: _Context
    ) -> controller_pb2.AlterPartitionsResponse:
        handler = partial(alter_partitions, request=request)
        written = await self._controller.term().write(handler, urgent=True)
        return controller_pb2.AlterPartitionsResponse(results=written.response)

    async def AssignDirectories(
        self, request: controller_pb2.AssignDirectoriesRequest, context: _Context
    ) -> controller_pb2.AssignDirectoriesResponse:
        handler = partial(assign_directories, request=request)
        written = await self._controller.term().write(handler)
        return controller_pb2.AssignDirectoriesResponse(
            metadata_version=self._controller.image.version_at(written.revision)
        )

    async def RaiseLeaderEpochs(
        self, request: controller_pb2.RaiseLeaderEpochsRequest, context: _Context
    ) -> controller_pb2.RaiseLeaderEpochsResponse:
        handler = partial(raise_leader_epochs, request=request)
        written = await self._controller.term().write(handler, urgent=True)
        return controller_pb2.RaiseLeaderEpochsResponse(
            metadata_version=self._controller.image.version_at(written.revision)
        )

    # A coroutine that writes, which grpc.aio takes for a stream as well: it ends with its call. A
    # generator that a broken call leaves behind is closed later, by when its context is gone.
    async def WatchClusterMetadata(  # type: ignore[override]  # generated code knows generators only
        self, request: controller_pb2.WatchClusterMetadataRequest, context: _Context
    ) -> None:
        if self._feed.watcher_count >= self._watchers_max:
            raise TooManyConnections(
                f"{self._watchers_max} services follow the metadata already",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        if request.HasField("from_version"):
            seen = request.from_version
            await self._controller.look_into(Position(seen.generation, seen.revision))
        watcher = _Watcher(context, self._controller)
        resume = request.HasField("from_version") and self._feed.can_resume(request.from_version)
        moved = self._feed.join()
        try:
            await self._follow(watcher, moved, request.from_version.revision if resume else None)
        finally:
            self._feed.leave(moved)

    async def _follow(self, watcher: _Watcher, moved: asyncio.Event, revision: int | None) -> None:
        """Sends everything from a revision on; None: from nothing. Until the call ends."""
        heartbeat_count = -1 if revision is not None else self._feed.heartbeat_count
        while True:
            if self._draining.is_set():
                raise Draining("the controller shuts down")
            moved.clear()
            if not self._controller.image.is_settled:
                # Of a store that was restored, nothing is shown before its generation has begun.
                await moved.wait()
                continue
            deltas = None if revision is None else self._feed.after(revision)
            if deltas is None:
                snapshot = self._feed.shared_snapshot()
                await watcher.send_snapshot(snapshot)
                revision = snapshot.revision
                continue
            for delta in deltas:
                await watcher.send_delta(delta)
                revision = delta.revision
            if not deltas and heartbeat_count != self._feed.heartbeat_count:
                await watcher.send_heartbeat(self._feed.revision)
            heartbeat_count = self._feed.heartbeat_count
            await moved.wait()


class _Watcher:
    """One stream of metadata; used by the task of its call."""

    def __init__(self, context: _Context, controller: Controller) -> None:
        self._context = context
        self._controller = controller

    async def send_snapshot(self, snapshot: Snapshot) -> None:
        """The messages of a snapshot, one ahead of the last so that the last is known as such."""
        message = self._message(snapshot.revision)
        message.snapshot_begin = True
        changes, number = snapshot.portion(0) or b"", 1
        while (following := snapshot.portion(number)) is not None:
            await self._send(message, changes)
            message, changes = self._message(snapshot.revision), following
            number += 1
        message.snapshot_complete = True
        await self._send(message, changes)

    async def send_delta(self, delta: Delta) -> None:
        """The messages of a delta; only the last one completes its version."""
        for number, chunk in enumerate(delta.chunks, 1):
            whole = number == len(delta.chunks)
            message = self._message(delta.revision if whole else delta.base_revision)
            await self._send(message, chunk.encoded)

    async def send_heartbeat(self, revision: int) -> None:
        """A sign of life."""
        message = self._message(revision)
        message.heartbeat = True
        await self._send(message)

    def _message(self, revision: int) -> _Message:
        active = active_controller(self._controller.image.state)
        return _Message(
            version=self._controller.image.version_at(revision),
            controller_epoch=active.controller_epoch if active else 0,
        )

    async def _send(self, message: _Message, changes: bytes = b"") -> None:
        # Messages concatenate: what is the watcher's own, and the changes, encoded for all.
        await self._context.write(message.SerializeToString() + changes)


def add_controller_service(servicer: ControllerServicer, server: grpc.aio.Server) -> None:
    """Serves all RPCs; the stream of metadata takes bytes, since it encodes them by itself."""
    controller_pb2_grpc.add_ControllerServiceServicer_to_server(
        servicer,
        _WithEncodedWatch(servicer, server),  # type: ignore[arg-type]  # all that is called of it
    )


class _WithEncodedWatch:
    """What generated code takes for the server: hands handlers on, with one of them replaced."""

    def __init__(self, servicer: ControllerServicer, server: grpc.aio.Server) -> None:
        self._server = server
        self._watch = grpc.unary_stream_rpc_method_handler(
            servicer.WatchClusterMetadata,
            request_deserializer=controller_pb2.WatchClusterMetadataRequest.FromString,
            response_serializer=bytes,
        )

    def add_generic_rpc_handlers(self, handlers: Any) -> None:
        """They come a second time, by their names."""

    def add_registered_method_handlers(self, name: str, handlers: Any) -> None:
        chosen = {**handlers, "WatchClusterMetadata": self._watch}
        generic = grpc.method_handlers_generic_handler(name, chosen)
        self._server.add_generic_rpc_handlers((generic,))
        self._server.add_registered_method_handlers(name, chosen)
