"""The one writer: in order, each on what was written before, fenced by the epoch."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from kit.clock import ManualClock, settle
from ottla.protocol.errors import (
    InvalidTopic,
    MetadataStoreUnavailable,
    NotController,
    OutcomeUnknown,
    Throttled,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import BrokerRecord
from ottla_controller.control.write_queue import COMMANDS_MAX, URGENT_ROOM
from ottla_controller.core.result import Put, Result, one_by_one
from ottla_controller.core.state import ClusterState
from ottla_controller.store.interface import Compare, DeleteKey, Operation, TransactionResult

from ..metadata_store.memory_store import MemoryMetadataStore
from .control_context import ControllerContext


def count_brokers_up(state: ClusterState) -> Result[int]:
    """Adds one more broker than there are."""
    node_id = len(state.brokers) + 1
    return Result(node_id, ((Put(BrokerRecord(node_id=node_id, fenced=True)),),))


def add_many(state: ClusterState) -> Result[None]:
    """Takes three transactions."""
    records = (BrokerRecord(node_id=1_000 + number, fenced=True) for number in range(300))
    return Result(None, one_by_one(map(Put, records)))


class BreakingStore(MemoryMetadataStore):
    """Does not answer any more after a transaction of unknown outcome."""

    async def transact(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> TransactionResult:
        try:
            return await super().transact(compares, operations)
        except OutcomeUnknown:
            self.unavailable = True
            raise


async def test_each_command_decides_on_what_was_written_before() -> None:
    async with ControllerContext.running() as context:
        term = context.controller.term()
        written = await asyncio.gather(*(term.write(count_brokers_up) for _ in range(5)))
    assert [each.response for each in written] == [1, 2, 3, 4, 5]
    revisions = [each.revision for each in written]
    assert revisions == sorted(set(revisions))


async def test_a_response_comes_when_what_was_written_shows() -> None:
    async with ControllerContext.running() as context:
        written = await context.write(add_many)
        assert len(context.state.brokers) == 300
        assert context.state.revision == written.revision


async def test_a_command_that_writes_nothing_shows_what_there_is() -> None:
    async with ControllerContext.running() as context:
        before = context.image.visible_revision
        assert (await context.write(lambda state: Result("nothing"))).revision == before


async def test_a_handler_that_refuses_fails_its_own_command_alone() -> None:
    def refuse(state: ClusterState) -> Result[None]:
        raise InvalidTopic("no")

    def break_down(state: ClusterState) -> Result[None]:
        raise KeyError("a bug")

    async with ControllerContext.running() as context:
        with pytest.raises(InvalidTopic):
            await context.write(refuse)
        with pytest.raises(KeyError):
            await context.write(break_down)
        assert (await context.write(count_brokers_up)).response == 1


async def test_urgent_commands_go_before_ordinary_ones() -> None:
    order: list[str] = []

    def note(name: str):  # type: ignore[no-untyped-def]  # a handler
        def handler(state: ClusterState) -> Result[None]:
            order.append(name)
            return Result(None)

        return handler

    async with ControllerContext.running() as context:
        writer = context.controller.term().writer
        await asyncio.wait(
            [
                writer.submit(note("ordinary 1")),
                writer.submit(note("ordinary 2")),
                writer.submit(note("urgent 1"), urgent=True),
                writer.submit(note("urgent 2"), urgent=True),
            ]
        )
    assert order == ["urgent 1", "urgent 2", "ordinary 1", "ordinary 2"]


async def test_a_flood_of_ordinary_commands_leaves_room_for_urgent_ones() -> None:
    async with ControllerContext.running() as context:
        await settle()
        writer = context.controller.term().writer
        flood = [writer.submit(count_brokers_up) for _ in range(COMMANDS_MAX)]
        urgent = [writer.submit(lambda _: Result("done"), urgent=True) for _ in range(URGENT_ROOM)]
        with pytest.raises(Throttled):
            await writer.submit(count_brokers_up, urgent=True)
        assert (await urgent[-1]).response == "done"
        assert not flood[0].done()


async def test_a_full_queue_refuses_with_a_time_to_wait() -> None:
    async with ControllerContext.running() as context:
        await settle()
        writer = context.controller.term().writer
        waiting = [writer.submit(count_brokers_up) for _ in range(COMMANDS_MAX)]
        with pytest.raises(Throttled) as caught:
            await writer.submit(count_brokers_up)
        assert caught.value.retry_after_ms == 100
        assert (await waiting[0]).response == 1


async def test_a_store_that_does_not_answer_fails_writes_and_reads_go_on() -> None:
    async with ControllerContext.running() as context:
        await context.write(count_brokers_up)
        context.store.unavailable = True
        with pytest.raises(MetadataStoreUnavailable):
            await context.write(count_brokers_up)
        assert list(context.state.brokers) == [1]
        context.store.unavailable = False
        await context.advance(500)
        assert (await context.write(count_brokers_up)).response == 2


@pytest.mark.parametrize("done", [True, False])
async def test_after_an_unknown_outcome_everything_is_read_anew_before_the_next_write(
    done: bool,
) -> None:
    async with ControllerContext.running() as context:
        await context.write(count_brokers_up)
        if done:
            context.store.lost_answers = 1
        else:
            context.store.lost_requests = 1
        term = context.controller.term()
        first = term.writer.submit(count_brokers_up)
        second = await term.write(count_brokers_up)
        with pytest.raises(OutcomeUnknown):
            await first
        assert second.response == (3 if done else 2)


async def test_nobody_waits_for_a_store_that_cannot_be_read_after_an_unknown_outcome() -> None:
    clock = ManualClock()
    store = BreakingStore(clock=clock)
    async with ControllerContext.running(store=store, clock=clock) as context:
        writer = context.controller.term().writer
        store.lost_requests = 1
        commands = [writer.submit(count_brokers_up) for _ in range(3)]
        await context.advance(500)
        commands.append(writer.submit(count_brokers_up))
        await context.advance(500)
        assert [type(each.exception()) for each in commands if each.done()] == [
            OutcomeUnknown,
            *(MetadataStoreUnavailable,) * 3,
        ]
        store.unavailable = False
        await context.advance(500)
        assert (await context.write(count_brokers_up)).response == 1


async def test_who_lost_its_leadership_writes_nothing_more() -> None:
    async with ControllerContext.running() as context:
        term = context.controller.term()
        (leader,) = [key for key in context.store.now if key.startswith(b"election/")]
        await context.store.transact([], [DeleteKey(leader)])
        with pytest.raises(NotController):
            await term.write(count_brokers_up)
        assert context.state.brokers == {}
        await settle()
        with pytest.raises(NotController):
            await term.writer.submit(count_brokers_up)


async def test_commands_that_wait_when_a_term_ends_are_told() -> None:
    async with ControllerContext.running() as context:
        term = context.controller.term()
        (leader,) = [key for key in context.store.now if key.startswith(b"election/")]
        await context.store.transact([], [DeleteKey(leader)])
        outcomes = await asyncio.gather(
            *(term.write(count_brokers_up) for _ in range(3)), return_exceptions=True
        )
    assert [type(outcome) for outcome in outcomes] == [NotController] * 3
