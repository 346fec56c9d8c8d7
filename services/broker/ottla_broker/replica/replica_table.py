"""All replicas of this broker, by topic id and partition, over its log directories.

    open (recovers) ─► run (one supervised task) ─► open_partition, delete_… ─► close ─► run ends

Owns which replica is in which directory and the choice of a directory for a new one. What the
replicas should be is the metadata's; what is in a directory is the directory's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ottla.protocol.errors import (
    ClusterMismatch,
    OttlaError,
    StorageOffline,
    UnknownTopicOrPartition,
)
from ottla.protocol.ids import DirectoryId, TopicId
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import DirectoryFailed
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.replica.directory_set import DirectorySet
from ottla_broker.replica.partition import Partition, deleted_error
from ottla_broker.storage.directory_files import DIRECTORY_ID_SIZE
from ottla_broker.storage.directory_opening import open_directory
from ottla_broker.storage.log_directory import DirectorySurroundings, LogDirectory
from ottla_runtime.entropy import Entropy


@dataclass(frozen=True, slots=True)
class ReplicaDescription:
    """One replica in a log directory; sizes in bytes."""

    topic: str
    topic_id: TopicId
    partition: int
    size: int
    log_start_offset: int
    log_end_offset: int
    error: OttlaError | None


@dataclass(frozen=True, slots=True)
class DirectoryDescription:
    """One log directory; `directory_id` is empty where the disk failed before it could be read.

    Bytes of the file system are those of a few seconds ago.
    """

    path: Path
    directory_id: DirectoryId
    online: bool
    error: OttlaError | None
    total_bytes: int
    usable_bytes: int
    replicas: tuple[ReplicaDescription, ...]


class ReplicaTable(DirectorySet):
    """Made by `open`, called on the event loop; nothing becomes durable without `run`.

    One owner opens and deletes replicas, several at a time if they are different ones.
    """

    def __init__(
        self,
        directories: Sequence[LogDirectory],
        *,
        failed: Sequence[tuple[Path, OSError]],
        surroundings: DirectorySurroundings,
    ) -> None:
        super().__init__(directories, failed=failed)
        self._surroundings = surroundings
        self._partitions: dict[tuple[TopicId, int], Partition] = {}
        self._names: dict[tuple[str, int], Partition] = {}
        self._homes: dict[tuple[TopicId, int], LogDirectory] = {}
        self._changing: set[tuple[str, int]] = set()
        self._creating: Counter[Path] = Counter()
        self._closed = asyncio.Event()
        for directory in self._directories:
            for log in directory.logs.values():
                found = Partition(log, clock=surroundings.clock)
                self._add(found, directory)

    @classmethod
    async def open(
        cls,
        paths: Sequence[Path],
        *,
        node_id: int,
        entropy: Entropy,
        surroundings: DirectorySurroundings,
    ) -> ReplicaTable:
        """Lock and check the directories and recover every log in them.

        A directory whose disk fails is offline, the others go on.

        Raises:
            ClusterMismatch: a directory is another node's or cluster's, or no log directory.
            DuplicateNodeId: another process uses one.
            UnsupportedVersion: a newer release wrote one.
            StorageOffline: none is left.
        """
        opened: list[LogDirectory] = []
        failed: list[tuple[Path, OSError]] = []
        try:
            for path in paths:
                try:
                    directory = await open_directory(
                        path,
                        node_id=node_id,
                        new_directory_id=DirectoryId(entropy.token_bytes(DIRECTORY_ID_SIZE)),
                        surroundings=surroundings,
                    )
                except OSError as error:
                    failed.append((path, error))
                    surroundings.events(DirectoryFailed(directory=str(path), cause=str(error)))
                else:
                    opened.append(directory)
            _check_same_cluster(opened)
            if not opened:
                raise StorageOffline(f"no log directory can be used: {failed[0][1]}")
        except BaseException:
            for directory in opened:
                directory.abandon()
            raise
        return cls(opened, failed=failed, surroundings=surroundings)

    async def run(self) -> None:
        """Flush, checkpoint and trim until `close`; to be run once, as one supervised task."""
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(directory.run(), name=f"log-directory-{directory.path.name}")
                for directory in self._directories
            ]
            await self._closed.wait()
            for task in tasks:
                task.cancel()

    def get(self, topic_id: TopicId, partition: int) -> Partition:
        """A replica, be it online or not. Raises UnknownTopicOrPartition."""
        found = self._partitions.get((topic_id, partition))
        if found is None:
            raise UnknownTopicOrPartition(
                f"no replica of partition {partition} of topic {topic_id.hex()} is here",
                metadata={"partition": partition},
            )
        return found

    def find(self, topic: str, partition: int) -> Partition | None:
        """A replica by its topic's name."""
        return self._names.get((topic, partition))

    def partitions(self) -> list[Partition]:
        """Every replica, also those that are offline or that no metadata names any more."""
        return list(self._partitions.values())

    async def open_partition(
        self,
        topic_id: TopicId,
        topic: str,
        partition: int,
        *,
        config: LogConfig,
        directory_id: DirectoryId | None,
    ) -> Partition:
        """The replica, with the topic's settings; created where it may be.

        Args:
            topic_id: the topic's id; a replica of its name with another id is deleted, because
                its topic must be gone.
            topic: the topic's name.
            partition: the partition.
            config: the topic's settings.
            directory_id: where the metadata says the replica is. None or empty: it is new.

        Raises:
            StorageOffline: its directory is offline or not here; nothing is created anew, for an
                empty log must not take the place of one with data.
            CorruptLog, StorageFull, InvalidTopic: it cannot be used, or not be created.
        """
        name = ReplicaName(topic_id, topic, partition)
        with self._change(name):
            found = self._partitions.get(name.key)
            if found is not None:
                if found.error is not None:
                    raise type(found.error)(found.error.message, metadata=name.details)
                await found.reconfigure(config)
                return found
            if directory_id:
                raise StorageOffline(
                    f"{name} should be in log directory {directory_id.hex()}, but is not",
                    metadata=name.details,
                )
            namesake = self._names.get((topic, partition))
            if namesake is not None:
                await self._delete(namesake)
            return await self._create(name, config)

    async def delete_partition(self, topic_id: TopicId, partition: int) -> None:
        """The replica is no more, durably, when this returns; one that is not here is fine.

        Raises StorageOffline.
        """
        found = self._partitions.get((topic_id, partition))
        if found is not None:
            with self._change(found.name):
                await self._delete(found)

    async def keep_aside(self, topic_id: TopicId, partition: int) -> None:
        """The replica is here no more, but its files stay, out of the way of its namesakes.

        Raises StorageFull, StorageOffline.
        """
        found = self._partitions.get((topic_id, partition))
        if found is not None:
            with self._change(found.name):
                home = self._homes[found.name.key]
                await home.changes.keep(found.name, reason=deleted_error(found.name))
                self._forget(found)

    async def delete_topic(self, topic_id: TopicId) -> None:
        """All of the topic's replicas are no more. Raises StorageOffline."""
        for key in [key for key in self._partitions if key[0] == topic_id]:
            await self.delete_partition(*key)

    def describe(self) -> list[DirectoryDescription]:
        """All log directories, in the order they were given, failed ones last."""
        return [
            *(_describe(directory) for directory in self._directories),
            *(_describe_failed(path, cause) for path, cause in self._failed),
        ]

    async def close(self, *, broker_epoch: int | None) -> None:
        """Flush everything, leave the clean-shutdown marks (without an epoch: none), end `run`."""
        for found in self.partitions():
            found.resign()
        try:
            for directory in self._directories:
                await directory.close(broker_epoch=broker_epoch)
        finally:
            self._closed.set()

    def abandon(self) -> None:
        """Let go of everything as it is, as after a crash, and end `run`."""
        for directory in self._directories:
            directory.abandon()
        self._closed.set()

    def _add(self, partition: Partition, directory: LogDirectory) -> Partition:
        name = partition.name
        self._partitions[name.key] = partition
        self._names[name.topic, name.partition] = partition
        self._homes[name.key] = directory
        return partition

    @contextmanager
    def _change(self, name: ReplicaName) -> Iterator[None]:
        """Only one change at a time of what has this name."""
        key = name.topic, name.partition
        assert key not in self._changing, f"{name} is being changed already"
        self._changing.add(key)
        try:
            yield
        finally:
            self._changing.remove(key)

    async def _create(self, name: ReplicaName, config: LogConfig) -> Partition:
        directory = self._choose_directory()
        self._creating[directory.path] += 1
        try:
            log = await directory.changes.create(name, config=config)
        finally:
            self._creating[directory.path] -= 1
        return self._add(Partition(log, clock=self._surroundings.clock), directory)

    async def _delete(self, partition: Partition) -> None:
        name = partition.name
        await self._homes[name.key].changes.delete(name, reason=deleted_error(name))
        self._forget(partition)

    def _forget(self, partition: Partition) -> None:
        name = partition.name
        del self._partitions[name.key], self._homes[name.key]
        if self._names.get((name.topic, name.partition)) is partition:
            del self._names[name.topic, name.partition]

    def _choose_directory(self) -> LogDirectory:
        """The online directory with the fewest replicas; of equals, the first."""
        online = [directory for directory in self._directories if directory.is_online]
        if not online:
            raise StorageOffline("no log directory is online")
        return min(online, key=lambda one: len(one.logs) + self._creating[one.path])


def _check_same_cluster(directories: Sequence[LogDirectory]) -> None:
    first = next((one for one in directories if one.cluster_id is not None), None)
    for directory in directories:
        if first is not None and directory.cluster_id not in {None, first.cluster_id}:
            raise ClusterMismatch(
                f"{directory.path} belongs to cluster {directory.cluster_id}, {first.path} to "
                f"{first.cluster_id}; start with directories of one cluster"
            )


def _describe(directory: LogDirectory) -> DirectoryDescription:
    replicas = tuple(
        ReplicaDescription(
            topic=log.name.topic,
            topic_id=log.name.topic_id,
            partition=log.name.partition,
            size=log.size,
            log_start_offset=log.state.log_start,
            log_end_offset=log.state.log_end,
            error=log.failure,
        )
        for log in directory.logs.values()
    )
    return DirectoryDescription(
        path=directory.path,
        directory_id=directory.directory_id,
        online=directory.is_online,
        error=directory.offline_error if not directory.is_online else None,
        total_bytes=directory.usage.total,
        usable_bytes=directory.usage.usable,
        replicas=replicas,
    )


def _describe_failed(path: Path, cause: OSError) -> DirectoryDescription:
    return DirectoryDescription(
        path=path,
        directory_id=DirectoryId(b""),
        online=False,
        error=StorageOffline(f"the log directory {path} is offline: {cause}"),
        total_bytes=0,
        usable_bytes=0,
        replicas=(),
    )
