"""What becomes of replicas that the metadata doesn't want here: deleted, set aside, or left.

    topic seen removed, or known and elsewhere ──► deleted
    topic not known: deleted while this broker was away, or forgotten by a backup?
        metadata never restored ──► set aside for days        restored ──► left where it is

Owns which topics were seen to be removed. A mistake here costs records, so files go at once only
where the metadata says so itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from ottla.protocol.errors import OttlaError
from ottla.protocol.ids import Partition, TopicId
from ottla_broker.core.cluster_position import FIRST_GENERATION
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.replica_plan import ReplicaKey, WantedReplica
from ottla_broker.metadata.replica_troubles import ReplicaTroubles
from ottla_broker.replica.partition import Partition as Replica

DELETE_FAILED = "replica.delete_failed"


class RemovableReplicas(Protocol):
    """What is needed of the table of replicas."""

    def find(self, topic: str, partition: int) -> Replica | None:
        """An open replica by its topic's name."""
        ...

    async def delete_partition(self, topic_id: TopicId, partition: int) -> None:
        """Take a replica away."""
        ...

    async def keep_aside(self, topic_id: TopicId, partition: int) -> None:
        """Take a replica away, but leave its files."""
        ...


@dataclass(frozen=True, slots=True)
class Unwanted:
    """Replicas by what becomes of them."""

    deleted: Sequence[ReplicaKey]
    aside: Sequence[ReplicaKey]
    left: Sequence[ReplicaKey]


class ReplicaRemoval:
    """Belongs to `ReplicaSync` and its task."""

    def __init__(
        self, replicas: RemovableReplicas, *, table: ClusterTable, troubles: ReplicaTroubles
    ) -> None:
        self._replicas = replicas
        self._table = table
        self._troubles = troubles
        self._removed: set[TopicId] = set()

    def topics_removed(self, topic_ids: Iterable[TopicId]) -> None:
        """These were seen to be deleted."""
        self._removed.update(topic_ids)

    def forget_topics(self, hosted: Iterable[ReplicaKey]) -> None:
        """Of topics that are no more, remember only those whose replicas are still here.

        One that a backup brought back is a topic again: what was seen of it before says nothing
        of what the next backup doesn't know.
        """
        here = {topic_id for topic_id, _ in hosted}
        is_known = self._table.topic_by_id
        self._troubles.keep_only(
            lambda topic_id: topic_id in here or is_known(topic_id) is not None
        )
        self._removed = {each for each in self._removed & here if is_known(each) is None}

    def sorted(self, keys: Sequence[ReplicaKey]) -> Unwanted:
        """What becomes of replicas that the plan has no use for."""
        deleted = [key for key in keys if self._is_deleted(key)]
        unknown = [key for key in keys if not self._is_deleted(key)]
        if self._table.version.generation > FIRST_GENERATION:
            return Unwanted(deleted, (), unknown)
        return Unwanted(deleted, unknown, ())

    async def delete(self, key: ReplicaKey) -> None:
        """The replica is no more; a failure is told of."""
        await self._take_away(key, self._replicas.delete_partition)

    async def set_aside(self, key: ReplicaKey) -> None:
        """The replica is here no more, its files are; a failure is told of."""
        self._troubles.kept_unknown(key)
        await self._take_away(key, self._replicas.keep_aside)

    def leave(self, keys: Iterable[ReplicaKey]) -> None:
        """The replicas stay as they are, which is told of."""
        for key in keys:
            self._troubles.kept_unknown(key)

    async def make_way(self, wanted: WantedReplica) -> None:
        """Before a replica is made: a namesake that nobody deleted keeps its files, elsewhere.

        Raises StorageFull, StorageOffline.
        """
        topic_id, partition = wanted.key
        namesake = self._replicas.find(wanted.topic, partition)
        if wanted.directory_id or namesake is None or namesake.topic_id == topic_id:
            return
        key = namesake.topic_id, Partition(namesake.partition)
        if not self._is_deleted(key):
            await self._replicas.keep_aside(*key)

    def _is_deleted(self, key: ReplicaKey) -> bool:
        """Whether the metadata says itself that the replica is no more."""
        topic_id, _ = key
        return topic_id in self._removed or self._table.topic_by_id(topic_id) is not None

    async def _take_away(
        self, key: ReplicaKey, step: Callable[[TopicId, int], Awaitable[None]]
    ) -> None:
        try:
            await step(*key)
        except OttlaError as error:
            self._troubles.failed(DELETE_FAILED, key, error)
        else:
            self._troubles.over(DELETE_FAILED, key)
