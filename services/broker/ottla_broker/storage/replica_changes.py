"""Replicas come to a log directory and leave it: one step after the other, each to be repeated.

    create    files made, whole or not at all ─► their name durable, with those of others
              ─► log opened ─► in the directory's care
    delete    log offline ─► its work ended ─► files set aside ─► durably, with others
              ─► files removed
    keep      the same, but the files stay aside

Whatever fails or is cancelled half way is gone on with by the next call for the same replica. One
call for a name at a time; the `ReplicaTable` sees to that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ottla.protocol.errors import OttlaError, StorageFull
from ottla_broker.core.cluster_position import FIRST_GENERATION
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import LeftoverRemoved, ReplicaCreated, ReplicaDeleted
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.storage.checkpoints import NEW_LOG, mark_key
from ottla_broker.storage.counted_offload import CountedOffload
from ottla_broker.storage.directory_files import DirectoryFiles
from ottla_broker.storage.group_commit import GroupCommit
from ottla_broker.storage.kept_epochs import NO_EPOCHS
from ottla_broker.storage.log_opening import LogOpening
from ottla_broker.storage.partition_log import LogContent, PartitionLog
from ottla_broker.storage.replica_files import ReplicaFiles

if TYPE_CHECKING:
    from ottla_broker.storage.log_directory import DirectorySurroundings, LogDirectory


class ReplicaChanges:
    """Belongs to one `LogDirectory`, on its loop."""

    def __init__(
        self,
        directory: LogDirectory,
        files: DirectoryFiles,
        *,
        commit: GroupCommit,
        surroundings: DirectorySurroundings,
    ) -> None:
        self._directory = directory
        self._files = files
        self._commit = commit
        self._surroundings = surroundings
        self._making: dict[str, CountedOffload] = {}
        self._begun_count = 0

    async def create(self, name: ReplicaName, *, config: LogConfig) -> PartitionLog:
        """A new, empty replica, durable. Raises StorageFull, StorageOffline, InvalidTopic."""
        path_name = name.directory_name
        work = self._making.setdefault(path_name, CountedOffload(self._surroundings.offload))
        self._begun_count += 1
        try:
            await work.ended()  # a creation that was cancelled goes on without its caller
            return await self._create(name, work, config=config)
        finally:
            self._begun_count -= 1
            if work.is_idle:
                del self._making[path_name]

    async def _create(
        self, name: ReplicaName, work: CountedOffload, *, config: LogConfig
    ) -> PartitionLog:
        directory = self._directory
        in_use = directory.is_used(name.directory_name)

        def make() -> ReplicaFiles:
            self._check_descriptors(name, needed=self._begun_count)
            return self._files.create_replica(name, in_use=in_use)

        files = await directory.blocking(make, offload=work)
        await directory.record.sync_names()
        opening = LogOpening(
            files,
            marks=NEW_LOG,
            epochs=NO_EPOCHS,
            is_clean=True,
            interval_bytes=config.index_interval_bytes,
            now_ms=self._surroundings.clock.wall_ms(),
            events=self._surroundings.events,
        )
        content = await directory.blocking(opening.open, offload=work)
        assert isinstance(content, LogContent)
        content = replace(content, names_are_durable=True)  # its directory was flushed as a whole
        self._surroundings.events(
            ReplicaCreated(
                topic=name.topic, partition=name.partition, directory=str(directory.path)
            )
        )
        return directory.add(content, config=config)

    def _check_descriptors(self, name: ReplicaName, *, needed: int) -> None:
        """Returns while new logs leave descriptors for all else. Raises StorageFull."""
        found = self._surroundings.filesystem.descriptors()
        if found.left_for_logs < needed:
            raise StorageFull(
                f"{name}: of {found.limit} files that this broker may have open {found.left} are "
                "left, which connections and flushes need; raise the limit (ulimit -n, "
                "LimitNOFILE=) or have fewer partitions",
                metadata=name.details,
            )

    async def delete(self, name: ReplicaName, *, reason: OttlaError) -> None:
        """The replica is no more, durably, when this returns; readers keep their files.

        Its directory's name is free for another replica then: nothing works on the old files by
        their names any more. Raises StorageFull, StorageOffline; `reason` is what users get.
        """
        taken = await self._take_out(name, reason=reason, set_aside=self._files.set_deleted)
        if taken is None:
            return
        log, target = taken
        directory = self._directory
        self._surroundings.events(
            ReplicaDeleted(
                topic=name.topic, partition=name.partition, directory=str(directory.path)
            )
        )
        await directory.blocking(lambda: self._files.remove_tree(target), offload=log.work)

    async def keep(self, name: ReplicaName, *, reason: OttlaError) -> None:
        """As `delete`, but its files stay, under a name of their own that nobody ever uses."""
        now_ms = self._surroundings.clock.wall_ms()
        await self._take_out(
            name, reason=reason, set_aside=lambda files: self._files.set_kept(files, now_ms=now_ms)
        )

    async def remove_kept(self) -> None:
        """Remove what was set aside long ago, unless metadata was restored meanwhile."""
        kept_ms = self._surroundings.config.kept_ms
        generation, _ = self._directory.position.version
        if kept_ms < 0 or generation > FIRST_GENERATION:
            return
        before_ms = self._surroundings.clock.wall_ms() - kept_ms
        files = self._files
        for path in await self._directory.blocking(lambda: files.remove_kept(before_ms=before_ms)):
            self._surroundings.events(LeftoverRemoved(path=str(path)))

    async def _take_out(
        self,
        name: ReplicaName,
        *,
        reason: OttlaError,
        set_aside: Callable[[ReplicaFiles], Path],
    ) -> tuple[PartitionLog, Path] | None:
        """Ends the log, and sets its files aside durably; None if there is none."""
        directory = self._directory
        log = directory.logs.get(mark_key(name))
        if log is None:
            return None
        log.fail(reason)
        await self._commit.quiet()
        await log.work.ended()
        target = await directory.blocking(lambda: set_aside(log.files), offload=log.work)
        await directory.record.sync_names()
        directory.forget(name)
        return log, target
