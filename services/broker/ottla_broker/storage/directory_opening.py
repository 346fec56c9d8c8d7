"""Opens a log directory: whose it is, how it was left, and every log in it.

lock ─► meta ─► clean-shutdown mark taken ─► checkpoint, epochs ─► leftovers removed ─► logs opened
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ottla.protocol.errors import StorageOffline
from ottla.protocol.ids import DirectoryId
from ottla_broker.core.cluster_position import ClusterPosition
from ottla_broker.core.documents import DamagedDocumentError
from ottla_broker.core.log_events import (
    CheckpointDamaged,
    EntryIgnored,
    EventSink,
    LeftoverRemoved,
    LogCorrupted,
)
from ottla_broker.core.replica_name import decode_replica_name
from ottla_broker.storage.beside import beside
from ottla_broker.storage.checkpoints import (
    NEW_LOG,
    UNKNOWN,
    Marks,
    mark_key,
    read_checkpoint,
)
from ottla_broker.storage.directory_files import (
    CREATING_PREFIX,
    DELETED_PREFIX,
    DirectoryFiles,
    DirectoryMeta,
)
from ottla_broker.storage.directory_record import DirectoryRecord
from ottla_broker.storage.filesystem import TEMPORARY_SUFFIX, Usage
from ottla_broker.storage.kept_epochs import NO_EPOCHS, KeptEpochs, read_kept_epochs
from ottla_broker.storage.log_directory import DirectorySurroundings, LogDirectory
from ottla_broker.storage.log_opening import LogOpening
from ottla_broker.storage.partition_log import LogContent
from ottla_broker.storage.replica_files import NAME_FILE, ReplicaFiles


@dataclass(frozen=True, slots=True)
class _Survey:
    """What is known of a directory before its logs are opened."""

    meta: DirectoryMeta
    clean_shutdown_epoch: int | None
    position: ClusterPosition
    marks: Mapping[str, Marks] | None
    epochs: Mapping[str, KeptEpochs | None] | None
    replicas: list[ReplicaFiles]
    ignored_count: int
    usage: Usage

    def marks_of(self, files: ReplicaFiles) -> Marks:
        """The marks of a log; one that a sound checkpoint does not know is newer than it."""
        if self.marks is None:
            return UNKNOWN
        return self.marks.get(mark_key(files.name), NEW_LOG)

    def epochs_of(self, files: ReplicaFiles) -> KeptEpochs | None:
        """The epochs kept of a log; None: not known."""
        return None if self.epochs is None else self.epochs.get(mark_key(files.name), NO_EPOCHS)

    def hand_over(self, record: DirectoryRecord) -> None:
        """What is said of replicas that cannot be told is carried on while any may be theirs."""
        if self.ignored_count == 0:
            return
        told = {mark_key(files.name) for files in self.replicas}
        for key in (self.marks or {}).keys() - told:
            record.carried_marks[key] = (self.marks or {})[key]
        for key in (self.epochs or {}).keys() - told:
            record.carried_epochs[key] = (self.epochs or {})[key]


async def open_directory(
    path: Path,
    *,
    node_id: int,
    new_directory_id: DirectoryId,
    surroundings: DirectorySurroundings,
) -> LogDirectory:
    """An open directory with all its logs recovered.

    Raises:
        OSError: the disk fails.
        ClusterMismatch: it is another node's, or no log directory.
        DuplicateNodeId: another process uses it.
        UnsupportedVersion: a newer release wrote it.
        StorageOffline: it has more partitions than files may be open.
    """
    files = DirectoryFiles(path, surroundings.filesystem)
    lock_fd = await beside(surroundings.offload, files.lock)
    try:
        survey = await beside(
            surroundings.offload,
            lambda: _survey(files, node_id, new_directory_id, surroundings.events),
        )
        directory = LogDirectory(
            files,
            meta=survey.meta,
            lock_fd=lock_fd,
            clean_shutdown_epoch=survey.clean_shutdown_epoch,
            position=survey.position,
            usage=survey.usage,
            surroundings=surroundings,
        )
    except BaseException:
        surroundings.filesystem.close(lock_fd)
        raise
    try:
        survey.hand_over(directory.record)
        await _open_logs(directory, survey, surroundings)
        if survey.epochs is None:
            await directory.record.replace_lost_epochs()
    except BaseException:
        directory.abandon()
        raise
    return directory


def _survey(
    files: DirectoryFiles, node_id: int, new_directory_id: DirectoryId, events: EventSink
) -> _Survey:
    meta = files.identify(node_id=node_id, new_directory_id=new_directory_id)
    position = files.read_position()
    epoch = files.take_clean_mark()
    replicas, ignored_count = _find_replicas(files, events)
    marks: Mapping[str, Marks] | None = None
    epochs: Mapping[str, KeptEpochs | None] | None = None
    try:
        marks = read_checkpoint(files.filesystem, files.path)
    except DamagedDocumentError as error:
        if replicas:
            events(CheckpointDamaged(directory=str(files.path), cause=str(error)))
    with suppress(DamagedDocumentError):  # each log makes its own anew, and says so
        epochs = read_kept_epochs(files.filesystem, files.path)
    files.reserve_room()
    usage = files.filesystem.usage(files.path)
    return _Survey(meta, epoch, position, marks, epochs, replicas, ignored_count, usage)


def _find_replicas(files: DirectoryFiles, events: EventSink) -> tuple[list[ReplicaFiles], int]:
    """Every replica, and the number of directories that may be one but cannot be told."""
    replicas, ignored_count = [], 0
    for entry in files.filesystem.list(files.path):
        path = files.path / entry.name
        if entry.name.startswith((CREATING_PREFIX, DELETED_PREFIX)):
            files.remove_tree(path)
            events(LeftoverRemoved(path=str(path)))
        elif entry.name.endswith(TEMPORARY_SUFFIX) and not entry.is_directory:
            files.filesystem.unlink(path)
            events(LeftoverRemoved(path=str(path)))
        elif entry.is_directory and entry.name != "lost+found":
            try:
                replicas.append(_replica_in(files, path))
            except DamagedDocumentError as error:
                ignored_count += 1
                events(EntryIgnored(path=str(path), cause=str(error)))
    return replicas, ignored_count


def _replica_in(files: DirectoryFiles, path: Path) -> ReplicaFiles:
    """The replica in a directory. Raises DamagedDocumentError if that cannot be told."""
    name_path = path / NAME_FILE
    if not files.filesystem.exists(name_path):
        raise DamagedDocumentError(f"no {NAME_FILE} in it")
    try:
        name = decode_replica_name(files.filesystem.read_file(name_path))
    except DamagedDocumentError as error:
        raise DamagedDocumentError(f"{NAME_FILE}: {error}") from None
    if name.directory_name != path.name:
        raise DamagedDocumentError(f"{NAME_FILE} is of {name}")
    return ReplicaFiles(path, name, files.filesystem)


async def _open_logs(
    directory: LogDirectory, survey: _Survey, surroundings: DirectorySurroundings
) -> None:
    """Every log in its turn on the offload's threads; the first disk error ends it."""
    found = await beside(surroundings.offload, surroundings.filesystem.descriptors)
    if found.left < len(survey.replicas):
        raise StorageOffline(
            f"{directory.path} has {len(survey.replicas)} partitions, and of {found.limit} files "
            f"that this broker may have open {found.left} are left; raise the limit (ulimit -n, "
            "LimitNOFILE=)"
        )
    now_ms = surroundings.clock.wall_ms()
    config = surroundings.config.log

    async def open_one(files: ReplicaFiles) -> None:
        marks, epochs = survey.marks_of(files), survey.epochs_of(files)
        opening = LogOpening(
            files,
            marks=marks,
            epochs=epochs,
            is_clean=survey.clean_shutdown_epoch is not None and survey.marks is not None,
            interval_bytes=config.index_interval_bytes,
            now_ms=now_ms,
            events=surroundings.events,
        )
        opened = await beside(surroundings.offload, opening.open)
        match opened:
            case LogContent():
                directory.add(opened, config=config)
            case LogCorrupted():
                surroundings.events(opened)
                error = files.corrupt_log(opened)
                directory.add_damaged(files, error, marks=marks, epochs=epochs)

    try:
        async with asyncio.TaskGroup() as group:
            for files in survey.replicas:
                group.create_task(open_one(files), name=f"log-opening-{files.name}")
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
