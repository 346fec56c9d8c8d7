"""The partitions a consumer reads: assigned, sought, paused, and where each stands.

Owns the part of `Consumer` that speaks of partitions; how records are handed out is `consumer`'s.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Generic, TypeVar

from ottla.api.fetch.v1 import fetch_pb2
from ottla.client.cluster_access import ClusterAccess
from ottla.client.core.error_copies import restated
from ottla.client.core.positions import (
    PartitionPosition,
    ResetPolicy,
    TopicPartition,
    start_at_offset,
    start_at_time,
    start_before_end,
    start_by,
    start_earliest,
    start_latest,
)
from ottla.client.fetching import Fetching
from ottla.client.received_records import Reception
from ottla.protocol.errors import InvalidRequest, UnknownTopicOrPartition

K = TypeVar("K")
V = TypeVar("V")

Assignable = TopicPartition | tuple[str, int] | str


class PartitionAssignment(Generic[K, V]):
    """What a consumer reads; belongs to it."""

    def __init__(
        self,
        access: ClusterAccess,
        fetching: Fetching,
        *,
        reception: Reception[K, V],
        policy: ResetPolicy,
    ) -> None:
        self._access = access
        self._fetching = fetching
        self._reception = reception
        self._policy = policy

    async def assign(self, partitions: Iterable[Assignable] | Mapping[TopicPartition, int]) -> None:
        """Read these partitions and no others; those read already go on where they are.

        Args:
            partitions: topics (all partitions they have now), or pairs of topic and partition; a
                mapping says at which offset each begins. Others begin by `auto_offset_reset`.

        Raises:
            UnknownTopicOrPartition: there is no such topic or partition.
            InvalidRequest: no offset is given although `auto_offset_reset` is "error", or something
                is neither a topic nor a partition.
        """
        self._access.check_usable()
        if isinstance(partitions, str):
            raise InvalidRequest(f"assign takes several topics: assign([{partitions!r:.64}])")
        offsets = partitions if isinstance(partitions, Mapping) else {}
        places = [place for each in partitions for place in await self._places(each)]
        positions = [self._position_at(place, offsets.get(place)) for place in places]
        kept = set(places)
        self._reception.drop(self._fetching.positions.keys() - kept)
        self._fetching.assign(positions)

    async def _places(self, each: Assignable) -> list[TopicPartition]:
        name, partition = _named(each)
        topic = await self._access.follower.topic(name)
        if partition is None:
            return [TopicPartition(name, number) for number in range(topic.partition_count)]
        if not 0 <= partition < topic.partition_count:
            raise UnknownTopicOrPartition(
                f"topic {name} has partitions 0 to {topic.partition_count - 1}, not {partition}",
                metadata={"topic": name, "partition": partition},
            )
        return [TopicPartition(name, partition)]

    def _position_at(self, place: TopicPartition, offset: int | None) -> PartitionPosition:
        start = start_by(self._policy) if offset is None else start_at_offset(offset)
        if start is None:
            raise InvalidRequest(
                'auto_offset_reset is "error": assign a mapping of partitions to offsets'
            )
        position = PartitionPosition(place.topic, place.partition, start)
        position.begin_at(start)
        return position

    def assignment(self) -> list[TopicPartition]:
        """The partitions that are read."""
        return list(self._fetching.positions)

    def seek(self, partition: TopicPartition | tuple[str, int], offset: int) -> None:
        """Go on at an offset. Raises InvalidRequest for a partition that isn't assigned."""
        self._move([partition], start_at_offset(offset))

    def seek_to_time(self, timestamp_ms: int, *partitions: tuple[str, int]) -> None:
        """Go on with the first record of a time or later, in these partitions or all."""
        self._move(partitions, start_at_time(timestamp_ms))

    def seek_to_beginning(self, *partitions: tuple[str, int]) -> None:
        """Go on with the first record there is, in these partitions or all."""
        self._move(partitions, start_earliest())

    def seek_to_end(self, *partitions: tuple[str, int]) -> None:
        """Go on with the next record that comes, in these partitions or all."""
        self._move(partitions, start_latest())

    def seek_to_last(self, count: int, *partitions: tuple[str, int]) -> None:
        """Go on so many offsets before the end, in these partitions or all."""
        self._move(partitions, start_before_end(count))

    def _move(self, partitions: Iterable[tuple[str, int]], start: fetch_pb2.ReadStart) -> None:
        assigned = self._assigned(partitions)
        self._reception.drop(assigned)
        for position in assigned.values():
            self._fetching.leave(position)
            position.begin_at(start)

    def pause(self, *partitions: tuple[str, int]) -> None:
        """Hand out nothing of these partitions, or of all, until they are resumed.

        What was fetched of them is given up, so that it holds no memory.
        """
        assigned = self._assigned(partitions)
        handed_to = self._reception.next_offsets()
        self._reception.drop(assigned)
        for place, position in assigned.items():
            position.next_offset = handed_to.get(place, position.next_offset)
            position.is_paused = True
            self._fetching.leave(position)

    def resume(self, *partitions: tuple[str, int]) -> None:
        """Go on with paused partitions, these or all."""
        for position in self._assigned(partitions).values():
            position.is_paused = False
        self._fetching.settle()

    def paused(self) -> list[TopicPartition]:
        """The partitions that are paused."""
        return [place for place, each in self._fetching.positions.items() if each.is_paused]

    def _assigned(
        self, partitions: Iterable[tuple[str, int]]
    ) -> dict[TopicPartition, PartitionPosition]:
        self._access.check_usable()
        positions = self._fetching.positions
        places = [TopicPartition(*each) for each in partitions] or list(positions)
        for place in places:
            if place not in positions:
                raise InvalidRequest(f"{place.topic}-{place.partition} is not assigned")
        return {place: positions[place] for place in places}

    async def position(self, partition: TopicPartition | tuple[str, int]) -> int:
        """Offset of the next record that the partition hands out; waits until it is known.

        Raises:
            InvalidRequest: the partition isn't assigned.
            OttlaError: it can't be known; reading raises the same.
        """
        while True:
            ((place, position),) = self._assigned([partition]).items()
            offset = self._reception.next_offsets().get(place, position.next_offset)
            if offset is not None:
                return offset
            if position.failure is not None:
                raise restated(position.failure)
            await self._fetching.moved()


def _named(each: object) -> tuple[str, int | None]:
    """Topic and partition, if there is one. Raises InvalidRequest for anything else."""
    match each:
        case str(name):
            return name, None
        case [str(name), int(partition)]:
            return name, partition
        case _:
            raise InvalidRequest(
                f"{each!r:.64} is neither a topic's name nor a pair of topic and partition"
            )
