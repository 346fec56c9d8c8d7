"""A log against a plain list, through every operation, restart and power loss."""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from dataclasses import dataclass, field
from itertools import accumulate, pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kit.batches import make_batch
from kit.storage import StorageContext, values_of
from ottla.protocol.errors import OffsetOutOfRange, StorageFull
from ottla_broker.core.append_checks import Acks
from ottla_broker.core.log_config import LogConfig
from ottla_broker.replica.partition import Partition
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.storage import index_log

CONFIG = LogConfig(segment_bytes=1_024, index_interval_bytes=120, retention_bytes=3_000)

appends = st.tuples(
    st.just("append"), st.lists(st.integers(1, 4), min_size=1, max_size=3), st.booleans()
)
others = st.tuples(
    st.sampled_from(
        ["read", "delete", "retain", "restart", "kill", "crash", "reopen_cold", "lead_anew",
         "checkpoint", "truncate", "fill", "clear"]
    ),
    st.integers(0, 10_000),
)  # fmt: skip
operations = st.lists(st.one_of(appends, appends, others), min_size=8, max_size=40)


@dataclass
class Model:
    """What the log should hold: every value by its offset, and how much of it was acknowledged."""

    values: list[bytes | None] = field(default_factory=list)
    acknowledged: int = 0
    start: int = 0
    bases: list[int] = field(default_factory=list)
    """The first offset of each batch."""
    epochs: list[tuple[int, int]] = field(default_factory=list)
    """Leader epochs that wrote something, each with its first offset."""


class Walk:
    """Takes one drawn sequence of operations on a context of its own."""

    table: ReplicaTable

    def __init__(self, root: Path, seed: int) -> None:
        self.context = StorageContext(root)
        self.context.config = CONFIG
        self.model = Model()
        self.random = random.Random(seed)
        self.crash_count = 0

    async def take(self, steps: list[tuple[object, ...]]) -> None:
        rest = list(steps)
        while rest:
            self.context.filesystem.room = None
            async with self.context.opened() as self.table:
                table, partition = self.table, await self.context.leader(self.table)
                await self.check(partition)
                while rest:
                    step = rest.pop(0)
                    if step[0] in {"restart", "kill", "crash"}:
                        if step[0] == "restart":
                            await table.close(broker_epoch=1)
                        elif step[0] == "crash":
                            self.context = await self.crash()
                        break
                    await self.apply(partition, step)
        async with self.context.opened() as table:
            await self.check(await self.context.leader(table))

    async def apply(self, partition: Partition, step: tuple[object, ...]) -> None:
        model = self.model
        match step:
            case ("append", list(counts), bool(is_all)):
                await self.append(partition, counts, is_all=is_all)
            case ("read", int(at)):
                offset = model.start + at % (len(model.values) - model.start + 1)
                await partition._log.flush()
                assert await values_of(partition, start=offset) == model.values[offset:]
            case ("delete", int(at)):
                offset = at % (partition.high_watermark + 2)
                if offset > partition.high_watermark:
                    with pytest.raises(OffsetOutOfRange):
                        await partition.delete_records(offset)
                else:
                    model.start = max(model.start, offset)
                    assert await partition.delete_records(offset) == model.start
            case ("retain", _):
                await partition._log.trim.apply_retention()
                assert partition.log_start_offset >= model.start
                model.start = partition.log_start_offset
            case ("reopen_cold", _):
                self.context.filesystem.is_cold = not self.context.filesystem.is_cold
            case ("lead_anew", _):
                partition.resign()
                await self.context.leader(self.table)
            case ("checkpoint", _):
                await partition._log.flush()
                await partition._log.surroundings.home.checkpoint()
            case ("truncate", int(at)):
                await self.truncate(
                    partition, model.start + at % (len(model.values) - model.start + 1)
                )
            case ("fill", int(at)):
                self.context.filesystem.room = at % 600
            case ("clear", _):
                self.context.filesystem.room = None

    async def truncate(self, partition: Partition, offset: int) -> None:
        """As an unclean election does, or, on a full disk, not at all."""
        model, log = self.model, partition._log
        if max((base for base in model.bases if base <= offset), default=0) < model.start:
            return  # nothing would be left: that is not a truncation
        try:
            await log.trim.truncate(offset, below_high_watermark=True)
        except StorageFull:
            assert self.context.filesystem.room is not None
            assert log.state.log_end == len(model.values)
            return
        end = log.state.log_end
        assert end <= offset
        del model.values[end:]
        model.bases = [base for base in model.bases if base < end]
        model.epochs = [one for one in model.epochs if one[1] < end]
        model.acknowledged = min(model.acknowledged, end)
        partition.resign()
        await self.context.leader(self.table)

    async def append(self, partition: Partition, counts: list[int], *, is_all: bool) -> None:
        model, batches = self.model, []
        values: list[bytes | None] = []
        for count in counts:
            sent = [b"%06d" % (len(model.values) + len(values) + n) * 10 for n in range(count)]
            batches.append(make_batch(*sent))
            values += sent
        acks = Acks.ALL if is_all else Acks.LEADER
        try:
            result = await partition.append(batches, acks=acks)
        except StorageFull:
            assert self.context.filesystem.room is not None
            assert partition.log_end_offset == len(model.values)
            return
        if not model.epochs or model.epochs[-1][0] != result.leader_epoch:
            model.epochs.append((result.leader_epoch, len(model.values)))
        ends = accumulate(counts, initial=result.base_offset)
        model.bases += list(ends)[:-1]
        model.values += values
        assert result.next_offset == len(model.values)
        if is_all:
            model.acknowledged = result.next_offset

    async def crash(self) -> StorageContext:
        """The plug is pulled: every unflushed byte may be there, be missing or be wrong."""

        def torn(durable: bytes, current: bytes) -> bytes:
            tail = bytearray(current[len(durable) : self.random.randint(0, len(current))])
            if tail and self.random.random() < 0.3:
                tail[self.random.randrange(len(tail))] ^= 0xFF
            return durable + bytes(tail) if current.startswith(durable) else durable

        self.crash_count += 1
        return await self.context.crashed(f"crash-{self.crash_count}", torn=torn)

    async def check(self, partition: Partition) -> None:
        """Nothing acknowledged is missing, and what is there is what was sent."""
        model = self.model
        end = partition.high_watermark
        assert model.acknowledged <= end <= len(model.values)
        assert partition.log_start_offset >= model.start
        model.start = partition.log_start_offset
        del model.values[end:]
        model.bases = [base for base in model.bases if base < end]
        model.epochs = [one for one in model.epochs if one[1] < end]
        assert await values_of(partition) == model.values[model.start :]
        known = partition._log.epochs
        for (epoch, _), (_, next_start) in pairwise([*model.epochs, (0, end)]):
            if next_start > model.start:  # its last record is there: the log knows whose it is
                found = known.end_offset(epoch, log_end=end)
                assert found is not None
                assert (found.epoch, found.start_offset) == (epoch, next_start)


@pytest.mark.slow
@pytest.mark.timeout(180)
@settings(max_examples=100)
@given(operations, st.integers(0, 2**32))
def test_log_behaves_as_a_list_and_loses_nothing_acknowledged(
    steps: list[tuple[object, ...]], seed: int
) -> None:
    root = Path(tempfile.mkdtemp())
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(index_log, "PIECE_SIZE_LEAST", 1 + seed % 400)
            patch.setattr(index_log, "PIECE_INTERVAL_MS", 0)
            asyncio.run(Walk(root, seed).take(steps))
    finally:
        shutil.rmtree(root)
