"""The order in which controllers' messages may change the cluster table.

Owns: snapshots are invisible until they are whole; versions only grow, whichever controller they
come from; a controller of an earlier term is not listened to; where to resume. Terms compare by
(generation, controller epoch), because epochs go back with a store that is restored from a backup,
and generations do not. Pure: `cluster_watch` holds the stream. A message that breaks the order is
refused with an error, and its stream is to be given up.
"""

from __future__ import annotations

from typing import NamedTuple

from ottla.internal.controller.v1 import controller_pb2
from ottla.protocol.errors import InvalidRequest, StaleControllerEpoch
from ottla.protocol.ids import ControllerEpoch
from ottla_broker.metadata.cluster_table import ClusterTable, TableChanges
from ottla_broker.metadata.views import ClusterVersion


class ControllerTerm(NamedTuple):
    """A term of a controller; compares by generation, then epoch."""

    generation: int
    epoch: ControllerEpoch


NO_TERM = ControllerTerm(0, ControllerEpoch(0))


class ClusterFollower:
    """Applies WatchClusterMetadata messages to a table; used by one task."""

    def __init__(self, table: ClusterTable) -> None:
        self._table = table
        self._term = NO_TERM
        self._shown = NO_TERM
        self._snapshot: ClusterTable | None = None
        self._complete = False

    @property
    def term(self) -> ControllerTerm:
        """The latest term seen."""
        return self._term

    @property
    def resume_after(self) -> ClusterVersion | None:
        """What a new stream goes on after; None asks for a snapshot."""
        return self._table.version if self._complete else None

    def stream_began(self) -> None:
        """A new stream takes over; a snapshot that the last one left half is dropped."""
        self._snapshot = None

    def check_answer(self, version: ClusterVersion, epoch: int) -> None:
        """Take note of the term of a controller that answered as the active one.

        Raises:
            StaleControllerEpoch: a controller of a later term has spoken or was shown before.
        """
        term = ControllerTerm(version.generation, ControllerEpoch(epoch))
        if term < self._term:
            raise StaleControllerEpoch(
                f"a controller of term {tuple(term)} spoke after one of {tuple(self._term)}"
            )
        self._term = term

    def receive(self, message: controller_pb2.WatchClusterMetadataResponse) -> TableChanges:
        """Apply one message; returns what became visible by it.

        A controller that stands by may be a little behind the active one and show an earlier term
        than that has answered under: what it sends is history all the same, in order.

        Raises:
            StaleControllerEpoch: its term is earlier than one shown before, or its version is.
            InvalidRequest: changes came before any snapshot.
        """
        self._check_shown(message)
        if message.snapshot_begin:
            self._snapshot = ClusterTable()
        if self._snapshot is not None:
            return self._receive_snapshot(message, self._snapshot)
        if not self._complete:
            if message.changes:
                raise InvalidRequest("the controller sent changes before a snapshot")
            return TableChanges()
        version = ClusterVersion.of(message.version)
        self._check_version(version)
        touched = self._table.apply(message.changes)
        self._table.version = version
        return touched

    def _receive_snapshot(
        self, message: controller_pb2.WatchClusterMetadataResponse, snapshot: ClusterTable
    ) -> TableChanges:
        snapshot.apply(message.changes)
        if not message.snapshot_complete:
            return TableChanges()
        self._snapshot = None
        snapshot.version = ClusterVersion.of(message.version)
        self._check_version(snapshot.version)
        self._complete = True
        touched = self._table.become(snapshot)
        touched.everything = True
        return touched

    def _check_shown(self, message: controller_pb2.WatchClusterMetadataResponse) -> None:
        if not message.controller_epoch:
            return  # nobody leads at the moment
        epoch = ControllerEpoch(message.controller_epoch)
        term = ControllerTerm(message.version.generation, epoch)
        if term < self._shown:
            raise StaleControllerEpoch(
                f"metadata of term {tuple(term)} came after such of {tuple(self._shown)}"
            )
        self._shown = term
        self._term = max(self._term, term)

    def _check_version(self, version: ClusterVersion) -> None:
        if version < self._table.version:
            raise StaleControllerEpoch(
                f"the metadata's version went back from {tuple(self._table.version)} "
                f"to {tuple(version)}"
            )
