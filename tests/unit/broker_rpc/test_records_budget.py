"""Who may hold decoded records, who waits, and who has to let go."""

from __future__ import annotations

import asyncio

import pytest

from ottla.protocol.batch import stamp
from ottla.protocol.records import encode_record_batch
from ottla_broker.rpc.read_plan import ReadCursor
from ottla_broker.rpc.read_responses import Positions
from ottla_broker.rpc.records_budget import MESSAGE_SIZE_MIN, RecordsBudget, Stake
from ottla_broker.rpc.records_decoding import RecordsDecoding

POSITIONS = Positions(high_watermark=1_000, log_start_offset=0, leader_epoch=3)


class Reading:
    """A Read's stake, and whether it was given up."""

    def __init__(self) -> None:
        self.was_given_up = False
        self.stake = Stake(self.give_up)

    def give_up(self) -> None:
        self.was_given_up = True


def half_decoded(record_count: int = 100, *, size: int = 1_000) -> RecordsDecoding:
    """A slice of which one message was made."""
    values = [(None, b"." * size, 5, ()) for _ in range(record_count)]
    frame = encode_record_batch(values)
    stamp(frame, base_offset=0, leader_epoch=3, append_time_ms=0)
    decoding = RecordsDecoding(bytes(frame), ReadCursor(0, None, None, None))
    step = decoding.step(POSITIONS, size_max=size)
    assert step is not None
    assert not step.is_last
    assert step.record_count == 1
    return decoding


async def test_messages_shrink_as_the_budget_is_used_up() -> None:
    budget = RecordsBudget(size_max=1 << 20)
    assert await budget.message_size(1 << 20) == 128 << 10
    budget.sent(Reading().stake, 896 << 10)
    assert await budget.message_size(1 << 20) == MESSAGE_SIZE_MIN
    assert await budget.message_size(1) == MESSAGE_SIZE_MIN


async def test_a_message_waits_until_one_that_was_sent_has_left() -> None:
    budget = RecordsBudget(size_max=1 << 20)
    reading = Reading()
    budget.sent(reading.stake, 1 << 20)
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(budget.message_size(1 << 20), name="waiting")
        await asyncio.sleep(0)
        assert not waiting.done()
        budget.left(reading.stake)
    assert waiting.result() == 128 << 10
    assert budget.held_size == 0
    assert not reading.was_given_up


async def test_who_has_held_a_message_longest_is_given_up_when_others_wait_too_long() -> None:
    budget = RecordsBudget(size_max=1 << 20, patience_seconds=0.0)
    first, second = Reading(), Reading()
    budget.sent(first.stake, 512 << 10)
    budget.sent(second.stake, 512 << 10)
    assert await budget.message_size(1 << 20) == 64 << 10
    assert (first.was_given_up, second.was_given_up) == (True, False)
    budget.close(first.stake)
    assert budget.held_size == 512 << 10


async def test_what_is_kept_makes_way_the_longest_unused_first() -> None:
    readings = [Reading() for _ in range(4)]
    size = half_decoded().held_size
    budget = RecordsBudget(size_max=3 * size)
    for reading in readings:
        budget.keep(reading.stake, half_decoded())
        assert budget.held_size <= 3 * size
    assert budget.take(readings[0].stake) is None
    budget.sent(Reading().stake, size)
    assert budget.take(readings[1].stake) is None
    assert budget.take(readings[2].stake) is not None
    assert budget.take(readings[3].stake) is not None
    assert budget.held_size == size


async def test_what_a_decoding_holds_counts_its_slice_and_its_records() -> None:
    assert half_decoded(100, size=1_000).held_size >= 300_000


async def test_a_turn_goes_on_only_when_the_work_of_a_cancelled_read_has_ended() -> None:
    budget = RecordsBudget()
    await budget.enter()
    work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    budget.leave(work)
    async with asyncio.TaskGroup() as group:
        entering = group.create_task(budget.enter(), name="entering")
        await asyncio.sleep(0)
        assert not entering.done()
        work.set_result(None)
    budget.leave(None)


@pytest.mark.parametrize("times", [1, 2])
async def test_closing_a_stake_gives_everything_back_once(times: int) -> None:
    budget = RecordsBudget()
    reading = Reading()
    budget.sent(reading.stake, 1_000)
    budget.keep(reading.stake, half_decoded())
    for _ in range(times):
        budget.close(reading.stake)
        assert budget.held_size == 0
