"""A Read of plain records: what it decodes, when, and where it goes on."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.batch import stamp
from ottla.protocol.compression import Codec
from ottla.protocol.records import encode_record_batch
from ottla_broker.rpc.read_plan import AtOffset, ReadTerms
from ottla_broker.rpc.reader import Reader, ReadWaits
from ottla_broker.rpc.records_budget import RecordsBudget
from ottla_broker.storage.log_slice import LogSlice
from ottla_broker.storage.ports import ThreadOffload

RECORD_COUNT = 200
RECORD_SIZE = 1_000
TO_THE_END = ReadTerms(AtOffset(0), False, None, None, None, False)


class SegmentFile:
    """Counts who holds it."""

    def __init__(self) -> None:
        self.holders = 0

    def release(self) -> None:
        self.holders -= 1


class OneBatchLog:
    """A replica whose log is one batch, and how often that was brought into memory."""

    leader_epoch = 1
    log_start_offset = 0
    high_watermark = RECORD_COUNT

    def __init__(self, *, codec: Codec) -> None:
        values = [(None, os.urandom(RECORD_SIZE), 5, ()) for _ in range(RECORD_COUNT)]
        frame = encode_record_batch(values, codec=codec)
        stamp(frame, base_offset=0, leader_epoch=1, append_time_ms=0)
        self.data = bytes(frame)
        self.file: Any = SegmentFile()
        self.load_count = 0

    async def read(self, offset: int, *, max_bytes: int) -> LogSlice | None:
        if offset >= RECORD_COUNT:
            return None
        self.file.holders += 1
        return LogSlice(self.file, 0, len(self.data), 0, RECORD_COUNT)

    async def load(self, part: LogSlice) -> bytes:
        self.load_count += 1
        return self.data


class Taking:
    """The pace of a client that takes so many bytes at once, or nothing until it is let."""

    def __init__(self, size: int = 4_096, *, is_shut: bool = False) -> None:
        self.size = size
        self.opened = asyncio.Event()
        if not is_shut:
            self.opened.set()

    def writable_nowait(self) -> int:
        return self.size if self.opened.is_set() else 0

    async def writable(self) -> int:
        await self.opened.wait()
        return self.size

    def give_up(self) -> None:
        raise AssertionError("nobody is given up here")


class ShutsInLine(Taking):
    """Its window is shut again by the time its turn comes, the first few times."""

    def __init__(self, times: int) -> None:
        super().__init__()
        self.times_left = times

    def writable_nowait(self) -> int:
        self.times_left -= 1
        return 0 if self.times_left >= 0 else self.size


@pytest.fixture
async def reader_of() -> AsyncIterator[Callable[..., Reader]]:
    offload = ThreadOffload(name="test", threads_max=1)

    def make(log: OneBatchLog, pace: Taking, budget: RecordsBudget) -> Reader:
        replica: Any = log
        waits = ReadWaits(idle_ms=15_000)
        return Reader(replica, TO_THE_END, waits=waits, records=budget, pace=pace, offload=offload)

    yield make
    offload.close()


def flat(messages: list[list[int]]) -> list[int]:
    return [offset for message in messages for offset in message]


async def offsets_of(reader: Reader) -> list[list[int]]:
    messages = []
    async for message in reader.messages():
        encoded = b"".join(bytes(part) for part in message.parts if isinstance(part, bytes))
        messages.append(
            [record.offset for record in fetch_pb2.ReadResponse.FromString(encoded).records]
        )
    reader.close()
    return messages


@pytest.mark.parametrize("codec", [Codec.NONE, Codec.ZSTD])
async def test_messages_are_as_large_as_the_client_takes_and_one_decoding_makes_them_all(
    reader_of: Callable[..., Reader], codec: Codec
) -> None:
    log, budget = OneBatchLog(codec=codec), RecordsBudget()
    messages = await offsets_of(reader_of(log, Taking(40_000), budget))
    assert flat(messages) == list(range(RECORD_COUNT))
    assert {len(each) for each in messages[:-1]} == {40_000 // (RECORD_SIZE + 32)}
    assert log.load_count == 1
    assert (budget.held_size, log.file.holders) == (0, 0)


async def test_a_decoding_that_had_to_go_is_begun_again_where_its_reader_stands(
    reader_of: Callable[..., Reader],
) -> None:
    log, budget = OneBatchLog(codec=Codec.ZSTD), RecordsBudget(size_max=64 << 10)
    messages = await offsets_of(reader_of(log, Taking(), budget))
    assert flat(messages) == list(range(RECORD_COUNT))
    assert log.load_count == len(messages) > 1
    assert (budget.held_size, log.file.holders) == (0, 0)


async def test_for_a_client_that_takes_nothing_nothing_is_decoded_and_nobody_waits(
    reader_of: Callable[..., Reader],
) -> None:
    budget = RecordsBudget(size_max=1 << 20)
    untaken, taken = OneBatchLog(codec=Codec.NONE), OneBatchLog(codec=Codec.NONE)
    shut = [Taking(is_shut=True) for _ in range(100)]
    async with asyncio.TaskGroup() as group:
        waiting = [
            group.create_task(offsets_of(reader_of(untaken, pace, budget)), name="shut")
            for pace in shut
        ]
        messages = await offsets_of(reader_of(taken, Taking(), budget))
        assert flat(messages) == list(range(RECORD_COUNT))
        assert (untaken.load_count, untaken.file.holders, budget.held_size) == (0, 0, 0)
        shut[0].opened.set()
        assert flat(await waiting[0]) == list(range(RECORD_COUNT))
        for task in waiting[1:]:
            task.cancel()
    assert budget.held_size == 0


async def test_a_client_that_shuts_while_in_line_gives_its_turn_away(
    reader_of: Callable[..., Reader],
) -> None:
    log, budget = OneBatchLog(codec=Codec.NONE), RecordsBudget()
    messages = await offsets_of(reader_of(log, ShutsInLine(3), budget))
    assert flat(messages) == list(range(RECORD_COUNT))
    assert log.load_count == 1
