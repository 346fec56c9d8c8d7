"""Makes a new leader's epoch durable, at once or when there is room for it.

Owns no epochs, which are the log's; belongs to one `Partition`.
"""

from __future__ import annotations

from contextlib import suppress

from ottla.protocol.errors import StorageFull
from ottla_broker.storage.partition_log import PartitionLog


class EpochBeginning:
    """One attempt at a time, so that no append overtakes another."""

    def __init__(self, log: PartitionLog) -> None:
        self._log = log
        self._is_trying = False

    async def begin(self, epoch: int) -> None:
        """Make it durable; on a full disk it stays to be made so. Raises StorageOffline."""
        with suppress(StorageFull):
            await self._log.begin_epoch(epoch)

    async def finish(self, epoch: int) -> None:
        """The disk was full when the epoch began. Raises StorageFull where it still is."""
        if self._is_trying:
            name = self._log.name
            raise StorageFull(f"{name} does not take appends yet", metadata=name.details)
        self._is_trying = True
        try:
            await self._log.begin_epoch(epoch)
        finally:
            self._is_trying = False
