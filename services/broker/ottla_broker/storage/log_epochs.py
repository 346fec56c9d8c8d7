"""Begins leader epochs in a log, durably: with those of other logs, or in the log's own file.

Owns which epochs the log's own file has; the epochs themselves are the log's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ottla_broker.core.leader_epochs import LeaderEpochs
from ottla_broker.storage.kept_epochs import KeptEpochs

if TYPE_CHECKING:
    from ottla_broker.storage.partition_log import PartitionLog

KEPT_MAX: Final = 8
"""So many epochs of a log, and up to as many more, are in the directory's file."""


class LogEpochs:
    """Belongs to one `PartitionLog`, on its loop; one call at a time."""

    def __init__(self, log: PartitionLog, *, filed_up_to: int | None) -> None:
        self._log = log
        self._filed_up_to = filed_up_to
        self._beginning: LeaderEpochs | None = None

    @property
    def kept(self) -> KeptEpochs:
        """What the directory's file is to say of this log."""
        return self._kept_of(self._beginning or self._log.epochs)

    async def begin(self, epoch: int) -> None:
        """Appends belong to `epoch` from here on; durable when this returns.

        Raises StorageFull, StorageOffline; then the log's epochs are as they were.
        """
        log = self._log
        await log.work.ended()  # one that was cancelled may be writing the same file
        log.check_online()
        epochs = LeaderEpochs(log.epochs.entries)
        if not epochs.begin(epoch, log.state.log_end):
            return
        assert self._filed_up_to is None or epoch > self._filed_up_to, (epoch, self._filed_up_to)
        # Logs that count alike, and begin together, do not come to their own files together.
        if len(self._kept_of(epochs).entries) > KEPT_MAX + log.name.partition % KEPT_MAX:
            await log.blocking(lambda: log.files.write_epochs(epochs))
            self.filed(epochs)
        else:
            self._beginning = epochs
            try:
                await log.surroundings.home.keep_epochs()
            finally:
                self._beginning = None
            log.check_online()
        log.epochs = epochs

    def filed(self, epochs: LeaderEpochs) -> None:
        """The log's own file has these, durably."""
        self._filed_up_to = epochs.latest

    def _kept_of(self, epochs: LeaderEpochs) -> KeptEpochs:
        filed = -1 if self._filed_up_to is None else self._filed_up_to
        later = tuple(entry for entry in epochs.entries if entry.epoch > filed)
        return KeptEpochs(self._filed_up_to, later)
