"""The log directories of a broker taken together: whose they are, which are online, what they note.

Owns what is asked of all directories at once. Which replica is in which of them is the
`ReplicaTable`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ottla.protocol.ids import DirectoryId
from ottla_broker.core.cluster_position import ClusterPosition
from ottla_broker.storage.log_directory import LogDirectory


class DirectorySet:
    """Directories that were opened, and those that could not be."""

    def __init__(
        self, directories: Sequence[LogDirectory], *, failed: Sequence[tuple[Path, OSError]]
    ) -> None:
        self._directories = list(directories)
        self._failed = list(failed)

    @property
    def cluster_id(self) -> str | None:
        """The cluster the directories belong to; None while all are new."""
        return next((one.cluster_id for one in self._directories if one.cluster_id), None)

    @property
    def directory_ids(self) -> list[DirectoryId]:
        """Directories that are online."""
        return [one.directory_id for one in self._directories if one.is_online]

    @property
    def offline_directory_ids(self) -> list[DirectoryId]:
        """Directories that failed since they were opened."""
        return [one.directory_id for one in self._directories if not one.is_online]

    @property
    def clean_shutdown_epoch(self) -> int | None:
        """Broker epoch under which all directories were closed cleanly; None if not all were."""
        epochs = {one.clean_shutdown_epoch for one in self._directories}
        return epochs.pop() if len(epochs) == 1 and not self._failed else None

    @property
    def position(self) -> ClusterPosition:
        """How far the broker had come in its cluster, as noted in its directories."""
        found = ClusterPosition()
        for one in self._directories:
            found = found.merged(one.position)
        return found

    async def note_position(self, position: ClusterPosition) -> None:
        """The broker has come so far, durably. Raises StorageFull, StorageOffline."""
        for directory in self._directories:
            if directory.is_online:
                await directory.note_position(position)

    async def adopt_cluster(self, cluster_id: str) -> None:
        """The directories belong to a cluster from here on.

        Raises ClusterMismatch, StorageFull, StorageOffline.
        """
        for directory in self._directories:
            if directory.is_online:
                await directory.adopt_cluster(cluster_id)
