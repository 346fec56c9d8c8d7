"""One log directory: the replicas in it, their flushes, their checkpoint, and its failure.

    open ─► run (flusher, checkpointer, upkeep) ─► close with a clean-shutdown mark
                        │ any disk error but a full disk
                        ▼
                     offline, with all its replicas, until the broker starts again

One failed directory takes only its own replicas offline; nothing is tried again, because after a
failed flush the kernel may call pages clean that never reached the disk.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeVar

from ottla.protocol.errors import CorruptLog, OttlaError, StorageFull, StorageOffline
from ottla.protocol.ids import DirectoryId
from ottla_broker.core.cluster_position import ClusterPosition
from ottla_broker.core.leader_epochs import LeaderEpochs
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import DirectoryFailed, EventSink
from ottla_broker.core.log_state import LogState
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.storage.beside import beside
from ottla_broker.storage.checkpoints import Marks, mark_key
from ottla_broker.storage.directory_files import DirectoryFiles, DirectoryMeta
from ottla_broker.storage.directory_record import DirectoryRecord
from ottla_broker.storage.directory_upkeep import DirectoryUpkeep
from ottla_broker.storage.filesystem import Filesystem, Usage, is_exhausted, is_full
from ottla_broker.storage.group_commit import PARALLEL_MAX, GroupCommit
from ottla_broker.storage.kept_epochs import KeptEpochs
from ottla_broker.storage.partition_log import LogContent, LogSurroundings, PartitionLog
from ottla_broker.storage.ports import Clock, Flushable, Offload
from ottla_broker.storage.replica_changes import ReplicaChanges
from ottla_broker.storage.replica_files import ReplicaFiles
from ottla_broker.storage.segments import Segments

Result = TypeVar("Result")

CHECKPOINT_INTERVAL_MS: Final = 5_000
RETENTION_INTERVAL_MS: Final = 60_000
KEPT_MS: Final = 7 * 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class StorageConfig:
    """How the broker's log directories are kept, apart from what topics say.

    `config` opens logs until metadata brings their topic's own.
    """

    checkpoint_interval_ms: int = CHECKPOINT_INTERVAL_MS
    retention_interval_ms: int = RETENTION_INTERVAL_MS
    kept_ms: int = KEPT_MS
    """How long replicas that the metadata does not know stay, set aside; -1: for ever."""
    parallel_flushes_max: int = PARALLEL_MAX
    log: LogConfig = field(default_factory=LogConfig)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySurroundings:
    """What a log directory is given."""

    filesystem: Filesystem
    clock: Clock
    offload: Offload
    events: EventSink
    config: StorageConfig


class LogDirectory:
    """An open log directory; made by `directory_opening`, called on the event loop only."""

    def __init__(
        self,
        files: DirectoryFiles,
        *,
        meta: DirectoryMeta,
        lock_fd: int,
        clean_shutdown_epoch: int | None,
        position: ClusterPosition,
        usage: Usage,
        surroundings: DirectorySurroundings,
    ) -> None:
        self.logs: dict[str, PartitionLog] = {}
        self.usage = usage
        self._names_used: Counter[str] = Counter()
        self.clean_shutdown_epoch = clean_shutdown_epoch
        self.position = position
        self.failure: OSError | None = None
        self._files = files
        self._meta = meta
        self._lock_fd = lock_fd
        self._is_running = False
        self._is_closed = False
        self._surroundings = surroundings
        self._commit = GroupCommit(
            offload=surroundings.offload,
            on_failure=self.fail,
            parallel_max=surroundings.config.parallel_flushes_max,
        )
        self.record = DirectoryRecord(
            files, self.logs, offload=surroundings.offload, on_failure=self.fail
        )
        self.changes = ReplicaChanges(self, files, commit=self._commit, surroundings=surroundings)
        self._upkeep = DirectoryUpkeep(
            self,
            clock=surroundings.clock,
            checkpoint_interval_ms=surroundings.config.checkpoint_interval_ms,
            retention_interval_ms=surroundings.config.retention_interval_ms,
        )

    @property
    def path(self) -> Path:
        return self._files.path

    @property
    def directory_id(self) -> DirectoryId:
        """The directory's own random id."""
        return self._meta.directory_id

    @property
    def cluster_id(self) -> str | None:
        """The cluster it belongs to; None while it is new."""
        return self._meta.cluster_id

    @property
    def is_online(self) -> bool:
        return self.failure is None

    async def adopt_cluster(self, cluster_id: str) -> None:
        """The directory belongs to a cluster from here on. Raises ClusterMismatch."""
        meta = self._meta
        self._meta = await self.blocking(lambda: self._files.adopt(meta, cluster_id))

    async def note_position(self, position: ClusterPosition) -> None:
        """The broker has come so far, durably. Raises StorageFull, StorageOffline."""
        merged = self.position.merged(position)
        if merged != self.position:
            await self.blocking(lambda: self._files.write_position(merged))
            self.position = merged

    async def run(self) -> None:
        """Flush, checkpoint and trim until cancelled."""
        self._is_running = True
        try:
            async with asyncio.TaskGroup() as group:
                name = self.path.name
                group.create_task(self._commit.run(), name=f"log-flush-{name}")
                group.create_task(self.record.run(), name=f"log-record-{name}")
                group.create_task(self._upkeep.checkpoint_often(), name=f"log-upkeep-{name}")
                group.create_task(self._upkeep.trim_often(), name=f"log-retention-{name}")
        finally:
            self._is_running = False
            self._end()

    async def look_at_usage(self) -> None:
        """Find out anew how much room is left. Raises StorageOffline."""
        filesystem, path = self._surroundings.filesystem, self.path
        self.usage = await self.blocking(lambda: filesystem.usage(path))

    def request_flush(self, log: Flushable) -> None:
        """Flush the log in the next round."""
        self._commit.request(log)

    async def checkpoint(self) -> None:
        """Returns once the marks of all logs are durable. Raises StorageFull, StorageOffline."""
        self.check_online()
        await self.record.checkpoint()

    async def keep_epochs(self) -> None:
        """Returns once the epochs of all logs are durable. Raises StorageFull, StorageOffline."""
        self.check_online()
        await self.record.keep_epochs()

    def check_online(self) -> None:
        """Returns while the directory can be used. Raises StorageOffline."""
        if self.failure is not None:
            raise self.offline_error
        if self._is_closed:
            raise StorageOffline(f"the log directory {self.path} is closed")

    @property
    def offline_error(self) -> StorageOffline:
        """What users of an offline directory get."""
        return StorageOffline(f"the log directory {self.path} is offline: {self.failure}")

    def fail(self, error: OSError) -> None:
        """The disk failed: all replicas are offline from here on."""
        if self.failure is not None:
            return
        self.failure = error
        self._surroundings.events(DirectoryFailed(directory=str(self.path), cause=str(error)))
        self.record.fail(self.offline_error)
        for log in self.logs.values():
            log.fail(StorageOffline(self.offline_error.message, metadata=log.name.details))

    def add(self, content: LogContent, *, config: LogConfig) -> PartitionLog:
        """Take a log that was opened into the directory's care."""
        surroundings = LogSurroundings(
            filesystem=self._surroundings.filesystem,
            clock=self._surroundings.clock,
            offload=self._surroundings.offload,
            events=self._surroundings.events,
            home=self,
        )
        log = PartitionLog(content, config=config, surroundings=surroundings)
        key = mark_key(log.name)
        self.logs[key] = log
        self.record.forget(key)  # from here on it speaks for itself
        self._names_used[log.name.directory_name] += 1
        if self.failure is not None or self._is_closed:
            log.fail(StorageOffline(f"{self.path} is offline", metadata=log.name.details))
        return log

    def add_damaged(
        self, files: ReplicaFiles, error: CorruptLog, *, marks: Marks, epochs: KeptEpochs | None
    ) -> None:
        """Take a log that cannot be used: its files and what is said of it stay as they are."""
        segment = files.segment(marks.log_start, created_ms=0)
        content = LogContent(
            name=files.name,
            files=files,
            segments=Segments([segment]),
            state=LogState(*[marks.log_start] * 4),
            epochs=LeaderEpochs(),
            failure=error,
        )
        self.add(content, config=self._surroundings.config.log)
        key = mark_key(files.name)
        self.record.carried_marks[key] = marks
        self.record.carried_epochs[key] = epochs

    def is_used(self, directory_name: str) -> bool:
        """Whether a log has its files under that name."""
        return self._names_used[directory_name] > 0

    def forget(self, name: ReplicaName) -> None:
        """The replica has been deleted: no log and no marks are left of it."""
        if self.logs.pop(mark_key(name), None) is not None:
            self._names_used -= Counter({name.directory_name: 1})
        self.record.forget(mark_key(name))

    async def close(self, *, broker_epoch: int | None) -> None:
        """Flush and close all logs, leave the clean-shutdown mark, unlock.

        Without `run`, without an epoch, or when a log cannot be closed cleanly: no mark.
        """
        try:
            if self.failure is None and self._is_running:
                is_clean = await self._close_logs()
                if broker_epoch is not None and is_clean:
                    await self.blocking(lambda: self._files.leave_clean_mark(broker_epoch))
        except OttlaError as error:
            if self.failure is None:
                cause = f"not closed cleanly: {error}"
                self._surroundings.events(DirectoryFailed(directory=str(self.path), cause=cause))
        finally:
            self.abandon()

    def abandon(self) -> None:
        """Let go of everything as it is, as after a crash."""
        self._end()
        if self._lock_fd >= 0:
            self._surroundings.filesystem.close(self._lock_fd)
            self._lock_fd = -1

    async def _close_logs(self) -> bool:
        """Close all that are online; False if not all were."""
        online = [log for log in self.logs.values() if log.failure is None]
        for log in online:  # all in one round
            if log.flushing.is_needed:
                self.request_flush(log)
        for log in online:
            await log.close()
        await self.checkpoint()
        return len(online) == len(self.logs)

    def _end(self) -> None:
        """Nobody flushes or checkpoints any more: whoever waits for it is told, and who comes."""
        self._is_closed = True
        ended = StorageOffline(f"the log directory {self.path} is closed")
        self.record.fail(ended)
        for log in self.logs.values():
            log.fail(StorageOffline(ended.message, metadata=log.name.details))

    async def blocking(
        self, work: Callable[[], Result], *, offload: Offload | None = None
    ) -> Result:
        """Blocking work on the directory itself. Raises StorageFull, StorageOffline."""
        self.check_online()
        try:
            return await beside(offload or self._surroundings.offload, work)
        except OSError as error:
            if is_full(error):
                raise StorageFull(f"{self.path}: {error}") from error
            if is_exhausted(error):
                raise StorageOffline(f"{self.path}: {error}") from error
            self.fail(error)
            raise self.offline_error from error
