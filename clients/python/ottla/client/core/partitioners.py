"""Which partition a record goes to: by key, sticky, in turn, at random, or as an application says.

Owns the protocol and the four ways the library brings. Pure: chance is an argument, which users
need not give (`ottla.client.partitioners`). Hashing is `ottla.protocol.partitioner`'s, so that keys
live where Kafka's clients would put them.
"""

from __future__ import annotations

from typing import Protocol

from ottla.protocol.partitioner import partition_for_key


class Chance(Protocol):
    """A source of numbers nobody can foresee, as `random.Random` is one."""

    def randrange(self, stop: int, /) -> int:
        """0 to `stop` - 1, each as likely as the others."""
        ...


class Partitioner(Protocol):
    """Chooses partitions; a custom one is a class with these two methods."""

    def partition(
        self, topic: str, *, key: bytes | None, value: bytes | None, partition_count: int
    ) -> int:
        """The record's partition, 0 to `partition_count` - 1."""
        ...

    def batch_sealed(self, topic: str, partition: int) -> None:
        """A batch of the partition takes no more records: a good moment to turn to another."""
        ...


class StickyPartitioner:
    """Keys by hash; records without a key go to one partition until its batch is full.

    Full batches are cheaper than many small ones, and over time every partition has its share.
    """

    def __init__(self, chance: Chance) -> None:
        self._chance = chance
        self._current: dict[str, int] = {}

    def partition(
        self, topic: str, *, key: bytes | None, value: bytes | None, partition_count: int
    ) -> int:
        if key is not None:
            return partition_for_key(key, partition_count)
        current = self._current.get(topic, partition_count)
        if current >= partition_count:
            current = self._current[topic] = self._chance.randrange(partition_count)
        return current

    def batch_sealed(self, topic: str, partition: int) -> None:
        if self._current.get(topic) == partition:
            del self._current[topic]


class RoundRobinPartitioner:
    """Keys by hash; records without a key go to all partitions in turn."""

    def __init__(self) -> None:
        self._next: dict[str, int] = {}

    def partition(
        self, topic: str, *, key: bytes | None, value: bytes | None, partition_count: int
    ) -> int:
        if key is not None:
            return partition_for_key(key, partition_count)
        partition = self._next.get(topic, 0) % partition_count
        self._next[topic] = partition + 1
        return partition

    def batch_sealed(self, topic: str, partition: int) -> None:
        """Turns do not depend on batches."""


class RandomPartitioner:
    """Every record to any partition, keys or not."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def partition(
        self, topic: str, *, key: bytes | None, value: bytes | None, partition_count: int
    ) -> int:
        return self._chance.randrange(partition_count)

    def batch_sealed(self, topic: str, partition: int) -> None:
        """Chance does not depend on batches."""
