"""Reading begins where it is asked to, ends where it should, and tells silence from failure."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import cast

import pytest

import ottla
from ottla.client.offset_lookups import OffsetAndTime
from ottla.protocol.errors import OffsetOutOfRange
from ottla_cli import reading
from ottla_cli.connections.settings import Connection
from ottla_cli.failures import EXIT_UNAVAILABLE, CommandFailed, from_platform
from ottla_cli.reading import Record, TopicReader
from ottla_cli.records.positions import Start
from ottla_cli.terminal import Output

P0, P1, P2 = (ottla.TopicPartition("flights", number) for number in range(3))


def _record(place: ottla.TopicPartition, offset: int) -> Record:
    return Record(place.topic, place.partition, offset, 0, None, b"", ())


class FakeConsumer:
    """Partitions with a first offset and an end; hands out the batches it is given, then waits."""

    def __init__(self, bounds: Mapping[ottla.TopicPartition, tuple[int, int]]) -> None:
        self.bounds = dict(bounds)
        self.batches: list[list[Record]] = []
        self.positions: dict[ottla.TopicPartition, int] = {}
        self.times: dict[int, int] = {}
        self.paused: set[ottla.TopicPartition] = set()
        self.assigned: list[object] = []
        self.looks = 0
        self.is_silent = False

    async def assign(self, partitions: Iterable[object]) -> None:
        self.assigned = list(partitions)

    def assignment(self) -> list[ottla.TopicPartition]:
        return list(self.bounds)

    def pause(self, *places: ottla.TopicPartition) -> None:
        self.paused |= set(places or self.bounds)

    def resume(self, place: ottla.TopicPartition) -> None:
        self.paused.discard(place)

    def seek(self, place: ottla.TopicPartition, offset: int) -> None:
        self.positions[place] = offset

    async def position(self, place: ottla.TopicPartition) -> int:
        return self.positions[place]

    async def beginning_offsets(
        self, places: Iterable[ottla.TopicPartition]
    ) -> dict[ottla.TopicPartition, int]:
        return {place: self.bounds[place][0] for place in places}

    async def end_offsets(
        self, places: Iterable[ottla.TopicPartition]
    ) -> dict[ottla.TopicPartition, int]:
        self.looks += 1
        if self.is_silent:
            await asyncio.Event().wait()
        return {place: self.bounds[place][1] for place in places}

    async def offsets_for_times(
        self, times: Mapping[ottla.TopicPartition, int]
    ) -> dict[ottla.TopicPartition, OffsetAndTime | None]:
        return {
            place: OffsetAndTime(self.times[place.partition], time_ms)
            if place.partition in self.times
            else None
            for place, time_ms in times.items()
        }

    async def next_batch(self, *, max_records: int) -> list[Record]:
        if not self.batches:
            await asyncio.Event().wait()
        batch = self.batches.pop(0)
        assert len(batch) <= max_records
        for record in batch:
            place = ottla.TopicPartition(record.topic, record.partition)
            self.positions[place] = record.offset + 1
        return batch


async def _reader(
    fake: FakeConsumer,
    start: Start = Start(earliest=True),  # noqa: B008 - immutable
    *,
    until_end: bool = True,
    timeout_seconds: float = 5,
) -> TopicReader:
    connection = Connection("127.0.0.1:9092", None, timeout_seconds, Output.TABLE)
    consumer = cast("ottla.Consumer[bytes, bytes]", fake)
    reader = TopicReader(consumer, connection, until_end=until_end)
    await reader.begin("flights", (), start)
    return reader


async def _all(reader: TopicReader) -> list[tuple[int, int]]:
    found = []
    while records := await reader.next_records(100, wait_seconds=None):
        found += [(record.partition, record.offset) for record in records]
    return found


@pytest.mark.parametrize(
    ("start", "begins"),
    [
        (Start(earliest=True), [5, 0]),
        (Start(), [9, 2]),
        (Start(last_count=3), [6, 0]),
        (Start(timestamp_ms=7), [8, 2]),
    ],
    ids=str,
)
async def test_each_start_has_an_offset_in_every_partition(start: Start, begins: list[int]) -> None:
    fake = FakeConsumer({P0: (5, 9), P1: (0, 2)})
    fake.times = {0: 8}
    await _reader(fake, start, until_end=False)
    assert [fake.positions[place] for place in (P0, P1)] == begins
    assert fake.paused == set()


async def test_offset_is_the_same_in_every_partition_and_may_be_the_end() -> None:
    fake = FakeConsumer({P0: (5, 9), P1: (0, 6)})
    await _reader(fake, Start(offset=6), until_end=False)
    assert [fake.positions[place] for place in (P0, P1)] == [6, 6]


@pytest.mark.parametrize("offset", [4, 10])
async def test_offset_outside_is_refused_with_what_there_is(offset: int) -> None:
    with pytest.raises(OffsetOutOfRange, match=f"flights-0 has no offset {offset}") as caught:
        await _reader(FakeConsumer({P0: (5, 9)}), Start(offset=offset))
    assert from_platform(caught.value).hint == (
        "the partition holds offsets 5 up to, not including, 9"
    )


async def test_partitions_are_read_to_the_ends_they_had() -> None:
    fake = FakeConsumer({P0: (0, 3), P1: (0, 1), P2: (4, 4)})
    reader = await _reader(fake)
    assert reader.expected_count == 4
    assert fake.paused == {P2}  # empty: never read at all
    fake.batches = [
        [_record(P0, 0), _record(P0, 1)],
        [_record(P1, 0), _record(P1, 1)],
        [_record(P0, 2), _record(P0, 3), _record(P0, 4)],
    ]
    assert await _all(reader) == [(0, 0), (0, 1), (1, 0), (0, 2)]
    assert reader.is_at_end
    assert fake.paused == {P0, P1, P2}


async def test_batch_of_several_partitions_is_cut_at_each_end() -> None:
    fake = FakeConsumer({P0: (0, 2), P1: (0, 2)})
    reader = await _reader(fake)
    fake.batches = [
        [_record(P0, 0), _record(P1, 0), _record(P1, 1), _record(P1, 2), _record(P0, 1)],
    ]
    assert await _all(reader) == [(0, 0), (1, 0), (1, 1), (0, 1)]


async def test_nothing_to_read_is_the_end_at_once() -> None:
    reader = await _reader(FakeConsumer({P0: (7, 7)}))
    assert (reader.is_at_end, reader.expected_count) == (True, 0)
    assert await reader.next_records(10, wait_seconds=None) == []


async def test_end_behind_what_is_no_record_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_END_LOOK_SECONDS", 0.001)
    fake = FakeConsumer({P0: (0, 5)})
    reader = await _reader(fake)
    fake.batches = [[_record(P0, 0)]]
    assert len(await reader.next_records(10, wait_seconds=None)) == 1
    fake.positions[P0] = 5  # the consumer has passed offsets that hold no record
    assert await reader.next_records(10, wait_seconds=None) == []
    assert reader.is_at_end


async def test_reader_that_follows_gets_what_lies_behind_the_end_too() -> None:
    fake = FakeConsumer({P0: (0, 1)})
    reader = await _reader(fake, until_end=False)
    fake.batches = [[_record(P0, 0), _record(P0, 1)]]
    assert len(await reader.next_records(10, wait_seconds=None)) == 2
    assert not reader.is_at_end
    assert await reader.next_records(10, wait_seconds=0.001) == []


async def test_idle_topic_is_asked_about_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_HEALTH_LOOK_SECONDS", 0.001)
    fake = FakeConsumer({P0: (0, 0)})
    reader = await _reader(fake, until_end=False, timeout_seconds=0.01)
    looks = fake.looks
    assert await reader.next_records(10, wait_seconds=0.1) == []
    assert fake.looks > looks + 1


async def test_cluster_that_answers_nothing_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_HEALTH_LOOK_SECONDS", 0.001)
    fake = FakeConsumer({P0: (0, 0)})
    reader = await _reader(fake, until_end=False, timeout_seconds=0.01)
    fake.is_silent = True
    with pytest.raises(
        CommandFailed, match=r"at 127\.0\.0\.1:9092 answered within 0\.01 s"
    ) as caught:
        await reader.next_records(10, wait_seconds=None)
    assert caught.value.code == EXIT_UNAVAILABLE


async def test_leader_that_sends_nothing_of_what_it_has_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(reading, "_HEALTH_LOOK_SECONDS", 0.001)
    reader = await _reader(FakeConsumer({P0: (0, 8)}), until_end=False, timeout_seconds=0.01)
    with pytest.raises(CommandFailed, match="flights-0 has records up to offset 8") as caught:
        await reader.next_records(10, wait_seconds=None)
    assert caught.value.code == EXIT_UNAVAILABLE


async def test_cluster_that_is_silent_at_the_beginning_is_unavailable() -> None:
    fake = FakeConsumer({P0: (0, 0)})
    fake.is_silent = True
    with pytest.raises(CommandFailed, match="no broker at") as caught:
        await _reader(fake, timeout_seconds=0.01)
    assert "--request-timeout" in caught.value.hint
