"""What a log directory holds besides its replicas, and how their directories are named.

    .lock             held while a process uses the directory
    meta              cluster, node, the directory's own random id, format
    checkpoint        `checkpoints`
    leader-epochs     `kept_epochs`
    *.spare           room for the next of either: `reserved_file`
    clean-shutdown    broker epoch under which the directory was closed; gone once it is opened
    cluster-position  how far the broker had come in its cluster
    <topic>-<n>/      a replica
    ~creating-…/  ~deleted-…/     a replica that is not one yet, or no more: removed at the start
    ~kept-…-<ms>/     a replica that the metadata does not know, and when it was set aside

A topic's name has no `~`, so that none of these is taken for a replica.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from ottla.protocol.errors import ClusterMismatch, DuplicateNodeId, StorageOffline
from ottla.protocol.ids import DirectoryId
from ottla_broker.core.cluster_position import (
    ClusterPosition,
    decode_position,
    encode_position,
)
from ottla_broker.core.documents import DamagedDocumentError, decode_document, encode_document
from ottla_broker.core.replica_name import ReplicaName, decode_replica_name, encode_replica_name
from ottla_broker.storage.checkpoints import CHECKPOINT_FILE, write_checkpoint
from ottla_broker.storage.filesystem import TEMPORARY_SUFFIX, Filesystem, replace_file, write_whole
from ottla_broker.storage.kept_epochs import EPOCHS_FILE, write_kept_epochs
from ottla_broker.storage.replica_files import NAME_FILE, ReplicaFiles
from ottla_broker.storage.reserved_file import (
    OLD_SUFFIX,
    SPARE_SUFFIX,
    replace_in_reserved_room,
    reserve_room,
)
from ottla_broker.storage.segment import segment_path

LOCK_FILE: Final = ".lock"
META_FILE: Final = "meta"
CLEAN_FILE: Final = "clean-shutdown"
CREATING_PREFIX: Final = "~creating-"
DELETED_PREFIX: Final = "~deleted-"
KEPT_PREFIX: Final = "~kept-"
_KEPT_NAME: Final = re.compile(rf"{KEPT_PREFIX}[0-9a-f]+-[0-9]+-([0-9]{{1,18}})\+*")
POSITION_FILE: Final = "cluster-position"
DIRECTORY_ID_SIZE: Final = 16

_IGNORED = frozenset(
    {
        LOCK_FILE,
        META_FILE + TEMPORARY_SUFFIX,
        "lost+found",
        *(
            name + suffix
            for name in (CHECKPOINT_FILE, EPOCHS_FILE, POSITION_FILE)
            for suffix in ("", SPARE_SUFFIX, OLD_SUFFIX)
        ),
    }
)


@dataclass(frozen=True, slots=True)
class DirectoryMeta:
    """Whose directory it is; `cluster_id` None until its broker has joined a cluster."""

    directory_id: DirectoryId
    node_id: int
    cluster_id: str | None


@dataclass(frozen=True, slots=True)
class DirectoryFiles:
    """The files of one log directory; all methods block and raise OSError."""

    path: Path
    filesystem: Filesystem

    def lock(self) -> int:
        """Make the directory durably if need be and lock it; the descriptor keeps the lock.

        Raises DuplicateNodeId if another process uses the directory, ClusterMismatch if it holds
        something else; then nothing is left in it.
        """
        if self.filesystem.exists(self.path) and not self.filesystem.exists(self.path / LOCK_FILE):
            self._refuse_strangers()
        missing = [
            each for each in (self.path, *self.path.parents) if not self.filesystem.exists(each)
        ]
        self.filesystem.make_directory(self.path)
        for each in missing:
            self.filesystem.sync_directory(each.parent)
        try:
            return self.filesystem.lock(self.path / LOCK_FILE)
        except BlockingIOError:
            raise DuplicateNodeId(
                f"{self.path} is in use by another process; stop that one or give this one "
                "a directory of its own"
            ) from None

    def identify(self, *, node_id: int, new_directory_id: DirectoryId) -> DirectoryMeta:
        """Whose directory it is; an empty one becomes this node's.

        Raises:
            ClusterMismatch: it is another node's, or holds something else.
            UnsupportedVersion: a newer release wrote it.
        """
        path = self.path / META_FILE
        if not self.filesystem.exists(path):
            self._refuse_strangers()
            write_checkpoint(self.filesystem, self.path, {})
            write_kept_epochs(self.filesystem, self.path, {})
            meta = DirectoryMeta(new_directory_id, node_id, None)
            self.write_meta(meta)
            self.filesystem.sync_directory(self.path.parent)
            return meta
        meta = self._read_meta(path)
        if meta.node_id != node_id:
            raise ClusterMismatch(
                f"{self.path} belongs to node {meta.node_id}, this is node {node_id}; "
                "start it with that node id or with another directory"
            )
        return meta

    def _refuse_strangers(self) -> None:
        """Returns if nothing but a log directory's can be lost here. Raises ClusterMismatch."""
        if self.filesystem.exists(self.path / META_FILE):
            return
        strangers = [e.name for e in self.filesystem.list(self.path) if e.name not in _IGNORED]
        if strangers:
            raise ClusterMismatch(
                f"{self.path} holds {strangers[0]!r} but no {META_FILE}: it is no log "
                "directory; name an empty or a new one"
            )

    def write_meta(self, meta: DirectoryMeta) -> None:
        body = {
            "cluster_id": meta.cluster_id,
            "directory_id": meta.directory_id.hex(),
            "node_id": meta.node_id,
        }
        replace_file(self.filesystem, self.path / META_FILE, encode_document("meta", body))

    def adopt(self, meta: DirectoryMeta, cluster_id: str) -> DirectoryMeta:
        """The directory belongs to a cluster from here on. Raises ClusterMismatch."""
        if meta.cluster_id == cluster_id:
            return meta
        if meta.cluster_id is not None:
            raise ClusterMismatch(
                f"{self.path} belongs to cluster {meta.cluster_id}, not to {cluster_id}; "
                "connect to its own cluster or start with another directory"
            )
        adopted = replace(meta, cluster_id=cluster_id)
        self.write_meta(adopted)
        return adopted

    def take_clean_mark(self) -> int | None:
        """The broker epoch of a clean shutdown; None after any other. The mark is gone then."""
        path = self.path / CLEAN_FILE
        if not self.filesystem.exists(path):
            return None
        try:
            body = decode_document("clean-shutdown", self.filesystem.read_file(path))
            epoch: object = body.get("broker_epoch")
        except DamagedDocumentError:
            epoch = None
        self.filesystem.unlink(path)
        self.filesystem.sync_directory(self.path)
        return epoch if isinstance(epoch, int) else None

    def leave_clean_mark(self, broker_epoch: int) -> None:
        """Everything in the directory is flushed and checkpointed."""
        data = encode_document("clean-shutdown", {"broker_epoch": broker_epoch})
        replace_file(self.filesystem, self.path / CLEAN_FILE, data)

    def read_position(self) -> ClusterPosition:
        """How far the broker had come in its cluster; the beginning where nothing sound says so."""
        path = self.path / POSITION_FILE
        if not self.filesystem.exists(path):
            return ClusterPosition()
        try:
            return decode_position(self.filesystem.read_file(path))
        except DamagedDocumentError:
            return ClusterPosition()

    def write_position(self, position: ClusterPosition) -> None:
        """Durable when this returns, also on a full disk."""
        document = encode_position(position)
        replace_in_reserved_room(self.filesystem, self.path / POSITION_FILE, document)

    def reserve_room(self) -> None:
        """See that checkpoint, epochs and position can be written on a full disk."""
        for name in (CHECKPOINT_FILE, EPOCHS_FILE, POSITION_FILE):
            reserve_room(self.filesystem, self.path / name)

    def create_replica(self, name: ReplicaName, *, in_use: bool) -> ReplicaFiles:
        """A replica's directory with its `partition.meta` and first segment, whole or not at all.

        Its own name is not durable yet: that is done for several at once. What an earlier call
        left is gone on with, and what one for another topic left set aside, unless a log has it
        `in_use`.

        Raises InvalidTopic if the topic's name is too long for it, StorageOffline if something
        that is no replica is in its place.
        """
        target = self.path / name.directory_name
        left = None if in_use else self._replica_at(target)
        if left is not None and left.name == name:
            return left
        if left is not None:
            deleted = self.set_deleted(left)
            self.filesystem.sync_directory(self.path)
            self.remove_tree(deleted)
        if self.filesystem.exists(target):
            raise StorageOffline(
                f"{target} is in the way and is no replica; move it elsewhere",
                metadata=name.details,
            )
        temporary = self.path / f"{CREATING_PREFIX}{name.topic_id.hex()}-{name.partition}"
        self.remove_tree(temporary)
        self.filesystem.make_directory(temporary)
        self._fill_new(temporary, name)
        self.filesystem.rename(temporary, target)
        return ReplicaFiles(target, name, self.filesystem)

    def _fill_new(self, directory: Path, name: ReplicaName) -> None:
        """The files of a new replica, durable under names of a directory nobody knows yet."""
        fd = self.filesystem.open(directory / NAME_FILE, create=True)
        try:
            write_whole(self.filesystem, fd, [encode_replica_name(name)], 0)
            self.filesystem.datasync(fd)
        finally:
            self.filesystem.close(fd)
        self.filesystem.close(self.filesystem.open(segment_path(directory, 0), create=True))
        self.filesystem.sync_directory(directory)

    def set_deleted(self, files: ReplicaFiles) -> Path:
        """The replica is no more, once this is durable; its files are at the path returned."""
        target = self.path / f"{DELETED_PREFIX}{_id_name(files.name)}"
        if self.filesystem.exists(files.directory):  # or an earlier call came this far
            self.remove_tree(target)
            self.filesystem.rename(files.directory, target)
        return target

    def set_kept(self, files: ReplicaFiles, *, now_ms: int) -> Path:
        """The same, for files that stay: they take the place of no others."""
        target = self.path / f"{KEPT_PREFIX}{_id_name(files.name)}-{now_ms}"
        if self.filesystem.exists(files.directory):
            while self.filesystem.exists(target):
                target = target.with_name(target.name + "+")
            self.filesystem.rename(files.directory, target)
        return target

    def remove_kept(self, *, before_ms: int) -> list[Path]:
        """Remove what was set aside before a time; returns what."""
        gone = [
            self.path / entry.name
            for entry in self.filesystem.list(self.path)
            if (kept := _KEPT_NAME.fullmatch(entry.name)) and int(kept[1]) < before_ms
        ]
        for path in gone:
            self.remove_tree(path)
        return gone

    def _replica_at(self, path: Path) -> ReplicaFiles | None:
        """The replica in a directory, if one is there."""
        if not self.filesystem.exists(path / NAME_FILE):
            return None
        try:
            name = decode_replica_name(self.filesystem.read_file(path / NAME_FILE))
        except DamagedDocumentError:
            return None
        return ReplicaFiles(path, name, self.filesystem)

    def remove_tree(self, path: Path) -> None:
        """Remove a directory with all files in it; one that is not there is fine."""
        if not self.filesystem.exists(path):
            return
        for entry in self.filesystem.list(path):
            if entry.is_directory:
                self.remove_tree(path / entry.name)
            else:
                self.filesystem.unlink(path / entry.name)
        self.filesystem.remove_directory(path)

    def _read_meta(self, path: Path) -> DirectoryMeta:
        try:
            body = decode_document("meta", self.filesystem.read_file(path))
            directory_id = DirectoryId(bytes.fromhex(body["directory_id"]))
            node_id, cluster_id = body["node_id"], body["cluster_id"]
        except (DamagedDocumentError, KeyError, TypeError, ValueError) as error:
            raise ClusterMismatch(
                f"{path} cannot be read ({error}); restore it or start with another directory"
            ) from None
        is_sound = isinstance(node_id, int) and (cluster_id is None or isinstance(cluster_id, str))
        if not is_sound or len(directory_id) != DIRECTORY_ID_SIZE:
            raise ClusterMismatch(f"{path} says {body!r}; restore it or use another directory")
        return DirectoryMeta(directory_id, node_id, cluster_id)


def _id_name(name: ReplicaName) -> str:
    return f"{name.topic_id.hex()}-{name.partition}"
