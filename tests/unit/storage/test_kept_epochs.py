"""Leader epochs of many logs, made durable together: none that acted is ever lost."""

from __future__ import annotations

import asyncio
import errno
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.batches import make_batch
from kit.offloads import HeldOffload
from kit.storage import StorageContext, values_of
from ottla.protocol.errors import StaleLeaderEpoch, StorageOffline
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.leader_epochs import EpochStart, LeaderEpochs
from ottla_broker.core.log_events import DirectoryFailed, EpochsRebuilt
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.storage.kept_epochs import KeptEpochs

Pairs = list[tuple[int, int]]


def pairs(table: ReplicaTable, number: int = 0) -> Pairs:
    """The epochs of a partition's log."""
    found = table.find("topic", number)
    assert found is not None
    return [(one.epoch, one.start_offset) for one in found._log.epochs.entries]


async def write_under(table: ReplicaTable, *epochs: int, number: int = 0) -> None:
    """A record under each epoch."""
    found = table.find("topic", number)
    assert found is not None
    for epoch in epochs:
        found.resign()
        await found.become_leader(epoch)
        await found.append([make_batch(b"%d" % epoch)], acks=Acks.ALL)


async def test_epochs_that_begin_together_share_a_write(tmp_path: Path) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        partitions = [await context.create(table, number) for number in range(40)]
        offload.holds = True
        context.filesystem.calls.clear()
        leading = [
            group.create_task(partition.become_leader(1), name="lead") for partition in partitions
        ]
        await offload.held(1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert (offload.held_count, any(task.done() for task in leading)) == (1, False)
        await offload.release()
        await asyncio.wait(leading)
        calls = Counter(context.filesystem.calls)
        assert (calls["datasync"], calls["sync_directory"]) == (1, 1)
        assert [partition.leader_epoch for partition in partitions] == [1] * 40


async def test_epoch_is_durable_before_it_is_led_under(tmp_path: Path) -> None:
    offload = HeldOffload()
    context = StorageContext(tmp_path, offload=offload)
    async with context.opened() as table, asyncio.TaskGroup() as group:
        first, second = await context.create(table, 0), await context.create(table, 1)
        offload.holds = True
        one = group.create_task(first.become_leader(5), name="one")
        await offload.held(1)
        two = group.create_task(second.become_leader(6), name="two")
        for _ in range(5):
            await asyncio.sleep(0)
        assert (offload.held_count, first.leader_epoch, second.leader_epoch) == (1, None, None)
        await offload.release(1)
        await one
        assert (first.leader_epoch, second.leader_epoch) == (5, None)
        durable = await context.crashed("durable")
        offload.holds = False
        await offload.release()
        await two
        after = await context.crashed("after")
    async with durable.opened() as table:
        assert (pairs(table, 0), pairs(table, 1)) == ([(5, 0)], [])
    async with after.opened() as table:
        assert (pairs(table, 0), pairs(table, 1)) == ([(5, 0)], [(6, 0)])


async def test_every_epoch_outlives_power_loss_however_many_there_are(
    context: StorageContext,
) -> None:
    expected: Pairs = []
    epoch = 0
    for number in range(6):
        async with context.opened() as table:
            if number == 0:
                await context.create(table)
            assert pairs(table) == expected
            for _ in range(5):
                epoch += 2
                expected.append((epoch, len(expected)))
                await write_under(table, epoch)
            next_life = await context.crashed(f"life-{number}")
        context = next_life
    async with context.opened() as table:
        assert pairs(table) == expected
        assert context.seen(EpochsRebuilt) == []
        found = table.partitions()[0]
        with pytest.raises(StaleLeaderEpoch):
            await found.become_leader(epoch)
        await found.become_leader(epoch + 1)
        assert len(await values_of(found)) == 30


@pytest.mark.parametrize("epoch_count", [1, 3, 12])
@pytest.mark.parametrize("name", ["leader-epochs", "topic-0/leader-epochs"])
@pytest.mark.parametrize("damage", [b"", b"{", None])
async def test_lost_file_of_epochs_is_made_up_for_from_the_batches(
    context: StorageContext, name: str, damage: bytes | None, epoch_count: int
) -> None:
    expected = [(3 * number + 1, number) for number in range(epoch_count)]
    async with context.opened() as table:
        await context.create(table)
        await write_under(table, *(epoch for epoch, _ in expected))
    path = context.paths[0] / name
    was_there = await asyncio.to_thread(path.exists)

    def lose() -> None:
        if damage is not None:
            path.write_bytes(damage)
        else:
            path.unlink(missing_ok=True)

    await asyncio.to_thread(lose)
    for _ in range(2):
        async with context.opened() as table:
            assert pairs(table) == expected
    assert len(context.seen(EpochsRebuilt)) == int(was_there or damage is not None)


async def test_epoch_that_wrote_nothing_is_known_though_a_file_is_lost(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        await context.create(table)
        await write_under(table, 4)
        table.partitions()[0].resign()
        await table.partitions()[0].become_leader(9)
    await asyncio.to_thread((context.paths[0] / "topic-0" / "leader-epochs").write_bytes, b"")
    async with context.opened() as table:
        assert pairs(table) == [(4, 0), (9, 1)]


async def test_full_disk_does_not_keep_an_epoch_from_beginning(context: StorageContext) -> None:
    async with context.opened() as table:
        await context.create(table)
        context.filesystem.room = 0
        for epoch in range(1, 6):
            table.partitions()[0].resign()
            await table.partitions()[0].become_leader(epoch)
        after = await context.crashed("after")
    async with after.opened() as table:
        assert pairs(table) == [(5, 0)]


async def test_epoch_that_could_not_be_written_takes_the_directory_offline(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        await context.create(table)
        context.filesystem.errors["datasync"] = errno.EIO
        with pytest.raises(StorageOffline):
            await table.partitions()[0].become_leader(1)
        assert table.partitions()[0].leader_epoch is None
        with pytest.raises(StorageOffline):
            await table.partitions()[0].become_leader(2)
    assert len(context.seen(DirectoryFailed)) == 1


async def test_epochs_of_a_truncated_end_do_not_come_back(context: StorageContext) -> None:
    async with context.opened() as table:
        await context.create(table)
        await write_under(table, 1, 2, 3, 4)
        log = table.partitions()[0]._log
        await log.trim.truncate(2, below_high_watermark=True)
        assert pairs(table) == [(1, 0), (2, 1)]
        cut = await context.crashed("cut")
        await write_under(table, 9)
        after = await context.crashed("after")
    async with cut.opened() as table:
        assert pairs(table) == [(1, 0), (2, 1)]
    async with after.opened() as table:
        assert pairs(table) == [(1, 0), (2, 1), (9, 2)]


async def test_epochs_of_a_deleted_log_are_not_those_of_its_successor(
    context: StorageContext,
) -> None:
    async with context.opened() as table:
        found = await context.create(table)
        await write_under(table, 7)
        await table.delete_partition(found.topic_id, 0)
        await context.create(table)
        assert pairs(table) == []
        await write_under(table, 1)
    async with context.opened() as table:
        assert pairs(table) == [(1, 0)]


growing = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 4)), max_size=12)


@given(growing, st.integers(0, 12), st.integers(0, 12))
def test_epochs_are_whole_wherever_the_two_files_meet(
    steps: list[tuple[int, int]], split: int, overlap: int
) -> None:
    epochs, epoch, offset = LeaderEpochs(), 0, 0
    history = [epochs.entries]
    for epoch_step, offset_step in steps:
        epoch, offset = epoch + epoch_step, offset + offset_step
        epochs.begin(epoch, offset)
        history.append(epochs.entries)
    filed = LeaderEpochs(history[min(split, len(history) - 1)])
    known = sum(entry.epoch <= (filed.latest or 0) for entry in epochs.entries)
    kept = KeptEpochs(filed.latest, epochs.entries[max(0, known - overlap) :])
    assert kept.added_to(filed).entries == epochs.entries


def test_epoch_that_began_below_others_on_file_takes_their_place() -> None:
    filed = LeaderEpochs([EpochStart(1, 0), EpochStart(3, 200), EpochStart(4, 250)])
    kept = KeptEpochs(4, (EpochStart(6, 150),))
    assert kept.added_to(filed).entries == (EpochStart(1, 0), EpochStart(6, 150))
