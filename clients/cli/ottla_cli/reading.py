"""Reading partitions of a topic from where they begin, and knowing when they are at their end.

Owns turning a start into offsets, and the bookkeeping of ends: an end is where a partition's
committed records ended when reading began. Fetching, and going on where it broke, is
`ottla.Consumer`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

import ottla
from ottla.protocol.errors import OffsetOutOfRange
from ottla_cli.connections.settings import Connection
from ottla_cli.failures import EXIT_UNAVAILABLE, CommandFailed
from ottla_cli.records.positions import Start
from ottla_cli.session import answering

Record = ottla.ConsumerRecord[bytes, bytes]
Offsets = Mapping[ottla.TopicPartition, int]

RECORDS_MAX: Final = 10_000
# An end may lie behind something that is no record for us, as what a transaction leaves.
_END_LOOK_SECONDS: Final = 0.5
_HEALTH_LOOK_SECONDS: Final = 10.0


async def begin_offsets(
    consumer: ottla.Consumer[bytes, bytes],
    places: Sequence[ottla.TopicPartition],
    *,
    start: Start,
    ends: Offsets,
) -> dict[ottla.TopicPartition, int]:
    """The offset at which each partition begins.

    Raises:
        OffsetOutOfRange: a partition does not hold the offset asked for.
        OttlaError: no broker could be asked.
    """
    if start.timestamp_ms is not None:
        found = await consumer.offsets_for_times(dict.fromkeys(places, start.timestamp_ms))
        return {
            place: ends[place] if (at := found[place]) is None else at.offset for place in places
        }
    if not start.earliest and start.offset is None and start.last_count is None:
        return dict(ends)
    firsts = await consumer.beginning_offsets(places)
    if start.last_count is not None:
        return {place: max(firsts[place], ends[place] - start.last_count) for place in places}
    if start.offset is None:
        return firsts
    for place in places:
        if not firsts[place] <= start.offset <= ends[place]:
            raise OffsetOutOfRange(
                f"{place.topic}-{place.partition} has no offset {start.offset}",
                metadata={
                    "topic": place.topic,
                    "partition": place.partition,
                    "earliest_offset": firsts[place],
                    "latest_offset": ends[place],
                },
            )
    return dict.fromkeys(places, start.offset)


class TopicReader:
    """Reads partitions through a consumer of its own user; used by one task."""

    def __init__(
        self,
        consumer: ottla.Consumer[bytes, bytes],
        connection: Connection,
        *,
        until_end: bool,
    ) -> None:
        self._consumer = consumer
        self._connection = connection
        self._until_end = until_end
        self._open: dict[ottla.TopicPartition, int] = {}
        self.expected_count = 0
        """Offsets between the beginnings and the ends: at most so many records are there now."""

    async def begin(self, topic: str, partitions: Sequence[int], start: Start) -> None:
        """Find out where to begin and to end, and begin to fetch.

        Args:
            topic: what to read.
            partitions: which of it; none: all.
            start: where to begin in each.

        Raises:
            OttlaError: there is no such topic, partition or offset, or no broker answers.
        """
        consumer = self._consumer
        async with answering(self._connection):
            await consumer.assign([(topic, each) for each in partitions] or [topic])
            consumer.pause()
            places = consumer.assignment()
            ends = await consumer.end_offsets(places)
            begins = await begin_offsets(consumer, places, start=start, ends=ends)
        self.expected_count = sum(max(0, ends[place] - begins[place]) for place in places)
        for place in places:
            consumer.seek(place, begins[place])
            if not self._until_end or begins[place] < ends[place]:
                self._open[place] = ends[place]
                consumer.resume(place)

    @property
    def is_at_end(self) -> bool:
        """Whether every partition is at the end it had, if that is where reading ends."""
        return not self._open

    async def next_records(self, count_max: int, *, wait_seconds: float | None) -> list[Record]:
        """Some records, at least one; none at the end, or after so long without any.

        Raises:
            CommandFailed: the cluster does not answer, or a partition does not go on.
            OttlaError: a partition cannot be read.
        """
        now = asyncio.get_running_loop().time
        gives_up_at = None if wait_seconds is None else now() + wait_seconds
        idle_since = health_looked_at = now()
        while not self.is_at_end:
            look_seconds = _END_LOOK_SECONDS if self._until_end else _HEALTH_LOOK_SECONDS
            wakes_at = now() + look_seconds
            if gives_up_at is not None:
                wakes_at = min(wakes_at, gives_up_at)
            try:
                async with asyncio.timeout_at(wakes_at):
                    records = await self._consumer.next_batch(max_records=count_max)
            except TimeoutError:
                if gives_up_at is not None and now() >= gives_up_at:
                    return []
                await self.look_for_ends()
                if now() - health_looked_at >= _HEALTH_LOOK_SECONDS:
                    health_looked_at = now()
                    await self._look_at_health(now() - idle_since)
                continue
            wanted = self._before_ends(records)
            if wanted:
                return wanted
        return []

    def _before_ends(self, records: list[Record]) -> list[Record]:
        """Those that are asked for; a partition that is at its end is read no further."""
        if not self._until_end:
            return records
        first, last = records[0], records[-1]
        place = ottla.TopicPartition(last.topic, last.partition)
        if last.partition == first.partition and last.offset < self._open.get(place, 0) - 1:
            return records
        wanted = []
        for record in records:
            place = ottla.TopicPartition(record.topic, record.partition)
            end = self._open.get(place)
            if end is None or record.offset >= end:
                self._close(place)
                continue
            wanted.append(record)
            if record.offset == end - 1:
                self._close(place)
        return wanted

    def _close(self, place: ottla.TopicPartition) -> None:
        if self._open.pop(place, None) is not None:
            self._consumer.pause(place)

    async def look_for_ends(self) -> None:
        """Notice partitions that are at their end without a record that shows it."""
        if self._until_end:
            for place, end in list(self._open.items()):
                if await self._consumer.position(place) >= end:
                    self._close(place)

    async def _look_at_health(self, idle_seconds: float) -> None:
        """Nothing came for a while: is there nothing, or does nobody answer?"""
        limit_seconds = self._connection.timeout_seconds
        async with answering(self._connection):
            ends = await self._consumer.end_offsets(list(self._open))
        if idle_seconds < limit_seconds:
            return
        for place, end in ends.items():
            if await self._consumer.position(place) < end:
                raise CommandFailed(
                    f"{place.topic}-{place.partition} has records up to offset {end}, and its"
                    f" leader sent none of them for {limit_seconds:g} s",
                    code=EXIT_UNAVAILABLE,
                    hint="`ottla topics describe` shows the leader, `ottla cluster describe` where"
                    " it is said to be reached",
                )
