"""What a directory's own files say of its logs, written for all of them at once when one asks.

    checkpoint      how far each log is durable, committed, trimmed      `checkpoints`
    leader-epochs   epochs that began lately                             `kept_epochs`
    (names)         which replicas there are: the directory flushed

Owns what is said of logs that are not open here, because they are damaged or cannot be told whose
they are: it is carried on, for the day they can be read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ottla.protocol.errors import OttlaError
from ottla_broker.storage.beside import beside
from ottla_broker.storage.checkpoints import Marks, write_checkpoint
from ottla_broker.storage.directory_files import DirectoryFiles
from ottla_broker.storage.filesystem import is_full
from ottla_broker.storage.kept_epochs import KeptEpochs, write_kept_epochs
from ottla_broker.storage.ports import Offload
from ottla_broker.storage.shared_step import SharedStep

if TYPE_CHECKING:
    from ottla_broker.storage.partition_log import PartitionLog


class DirectoryRecord:
    """Belongs to one `LogDirectory`, on its loop."""

    def __init__(
        self,
        files: DirectoryFiles,
        logs: Mapping[str, PartitionLog],
        *,
        offload: Offload,
        on_failure: Callable[[OSError], None],
    ) -> None:
        self.carried_marks: dict[str, Marks] = {}
        self.carried_epochs: dict[str, KeptEpochs | None] = {}
        self._files = files
        self._logs = logs
        self._offload = offload
        self._written_marks: Mapping[str, Marks] | None = None
        self._written_epochs: Mapping[str, KeptEpochs | None] | None = None
        path = files.path
        self._checkpoint = SharedStep(
            self._write_marks, name=f"the checkpoint of {path}", on_failure=on_failure
        )
        self._epochs = SharedStep(
            self._write_epochs, name=f"the leader epochs of {path}", on_failure=on_failure
        )
        self._names = SharedStep(
            self._sync_names, name=f"the names in {path}", on_failure=on_failure
        )

    async def checkpoint(self) -> None:
        """Returns once the marks as they are now, or later ones, are durable.

        Raises StorageFull, StorageOffline; so do the others.
        """
        await self._checkpoint.taken()

    async def keep_epochs(self) -> None:
        """Returns once the logs' epochs as they are now, or later ones, are durable."""
        await self._epochs.taken()

    async def replace_lost_epochs(self) -> None:
        """The directory's file of epochs could not be read: write it anew. Raises OSError."""
        try:
            await self._write_epochs()
        except OSError as error:
            if not is_full(error):  # the next epoch that begins tries again
                raise

    async def sync_names(self) -> None:
        """Returns once the names in the directory as they are now are durable."""
        await self._names.taken()

    async def run(self) -> None:
        """Write until cancelled."""
        name = self._files.path.name
        async with asyncio.TaskGroup() as group:
            group.create_task(self._checkpoint.run(), name=f"log-checkpoint-{name}")
            group.create_task(self._epochs.run(), name=f"log-epochs-{name}")
            group.create_task(self._names.run(), name=f"log-names-{name}")

    def fail(self, error: OttlaError) -> None:
        """Nothing will be durable any more."""
        for step in (self._checkpoint, self._epochs, self._names):
            step.fail(error)

    def forget(self, key: str) -> None:
        """Nothing is said of the log any more."""
        self.carried_marks.pop(key, None)
        self.carried_epochs.pop(key, None)

    async def _write_marks(self) -> None:
        marks = {key: log.marks for key, log in self._logs.items()} | self.carried_marks
        if marks == self._written_marks:
            return
        filesystem, path = self._files.filesystem, self._files.path
        await beside(self._offload, lambda: write_checkpoint(filesystem, path, marks))
        self._written_marks = marks

    async def _write_epochs(self) -> None:
        epochs: dict[str, KeptEpochs | None] = {
            key: log.epoch_keeping.kept for key, log in self._logs.items()
        }
        epochs |= self.carried_epochs
        if epochs == self._written_epochs:
            return
        filesystem, path = self._files.filesystem, self._files.path
        await beside(self._offload, lambda: write_kept_epochs(filesystem, path, epochs))
        self._written_epochs = epochs

    async def _sync_names(self) -> None:
        filesystem, path = self._files.filesystem, self._files.path
        await beside(self._offload, lambda: filesystem.sync_directory(path))
