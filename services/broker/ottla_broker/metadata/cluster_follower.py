"""The order in which a controller's messages may change the cluster table.

Owns: snapshots are invisible until they are whole; the controller epoch and the version only grow;
where to resume. Pure: `cluster_watch` holds the stream. A message that breaks the order is refused
with an error, and its stream is to be given up.
"""

from __future__ import annotations

from ottla.internal.controller.v1 import controller_pb2
from ottla.protocol.errors import InvalidRequest, StaleControllerEpoch
from ottla.protocol.ids import ControllerEpoch
from ottla_broker.metadata.cluster_table import ClusterTable, TableChanges
from ottla_broker.metadata.views import ClusterVersion

NO_EPOCH = ControllerEpoch(0)


class ClusterFollower:
    """Applies WatchClusterMetadata messages to a table; used by one task."""

    def __init__(self, table: ClusterTable) -> None:
        self._table = table
        self._epoch = NO_EPOCH
        self._snapshot: ClusterTable | None = None
        self._complete = False

    @property
    def controller_epoch(self) -> ControllerEpoch:
        """The highest epoch seen."""
        return self._epoch

    @property
    def resume_after(self) -> ClusterVersion | None:
        """What a new stream goes on after; None asks for a snapshot."""
        return self._table.version if self._complete else None

    def stream_began(self) -> None:
        """A new stream takes over; a snapshot that the last one left half is dropped."""
        self._snapshot = None

    def check_epoch(self, epoch: int) -> None:
        """Take note of a controller's epoch, from whatever it answered.

        Raises:
            StaleControllerEpoch: a controller of a higher epoch has spoken before.
        """
        if epoch < self._epoch:
            raise StaleControllerEpoch(
                f"a controller of epoch {epoch} spoke after one of epoch {self._epoch}"
            )
        self._epoch = ControllerEpoch(epoch)

    def receive(self, message: controller_pb2.WatchClusterMetadataResponse) -> TableChanges:
        """Apply one message; returns what became visible by it.

        Raises:
            StaleControllerEpoch: its controller epoch or its version went back.
            InvalidRequest: changes came before any snapshot.
        """
        self.check_epoch(message.controller_epoch)
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

    def _check_version(self, version: ClusterVersion) -> None:
        if version < self._table.version:
            raise StaleControllerEpoch(
                f"the metadata's version went back from {tuple(self._table.version)} "
                f"to {tuple(version)}"
            )
