"""One replica as the RPC layer sees it: led, appended to, read from, waited for.

    append ──► log (page cache) ──► group commit of its directory ──► flushed end
                                                                        │ high watermark
    acks=LEADER answers here        acks=ALL answers here, readers wake ◄┘

Owns leadership in this process, the high watermark's rule for one replica, and who waits for it.
Does not own files (`storage`), nor who leads (the controller decides).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ottla.protocol.batch import Batch
from ottla.protocol.errors import (
    LogTruncated,
    NotLeader,
    OffsetOutOfRange,
    OttlaError,
    OutcomeUnknown,
    StaleLeaderEpoch,
    UnknownTopicOrPartition,
)
from ottla.protocol.ids import DirectoryId, TopicId
from ottla_broker.core.append_checks import Acks, check_batch
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.replica.epoch_beginning import EpochBeginning
from ottla_broker.replica.waiters import CommitQueue, ReaderSet
from ottla_broker.storage.log_reader import TimedOffset
from ottla_broker.storage.log_slice import LogSlice
from ottla_broker.storage.partition_log import PartitionLog
from ottla_broker.storage.ports import Clock


def _nothing() -> None:
    """Nobody asks to be called."""


@dataclass(frozen=True, slots=True)
class AppendResult:
    """Where an append went; `append_time_ms` is 0 where the records' own times hold."""

    base_offset: int
    next_offset: int
    append_time_ms: int
    log_start_offset: int
    leader_epoch: int


@dataclass(frozen=True, slots=True)
class PlacedAppend:
    """An append that has its place in the log; its future, if any, is done once it is committed."""

    result: AppendResult
    committed: asyncio.Future[None] | None

    async def acknowledged(self) -> AppendResult:
        """Wait; raises OutcomeUnknown: appended, but not flushed, or leadership was lost."""
        if self.committed is not None:
            await self.committed
        return self.result


class Partition:
    """One replica. All calls from the event loop's thread; the log directory's tasks move it on.

    Every method that touches data raises `StorageOffline` once the replica's directory failed,
    `CorruptLog` once its log is known to be damaged and `UnknownTopicOrPartition` once deleted.
    """

    def __init__(self, log: PartitionLog, *, clock: Clock) -> None:
        self._log = log
        self._clock = clock
        self._beginning = EpochBeginning(log)
        self._leader_epoch: int | None = None
        self._commits = CommitQueue()
        self._readers = ReaderSet()
        log.on_progress = self._advance
        log.on_failure = self._fail

    @property
    def name(self) -> ReplicaName:
        """Which replica it is."""
        return self._log.name

    @property
    def topic_id(self) -> TopicId:
        return self._log.name.topic_id

    @property
    def topic(self) -> str:
        return self._log.name.topic

    @property
    def partition(self) -> int:
        return self._log.name.partition

    @property
    def directory_id(self) -> DirectoryId:
        """The log directory the replica is in."""
        return self._log.directory_id

    @property
    def config(self) -> LogConfig:
        return self._log.config

    @property
    def leader_epoch(self) -> int | None:
        """The epoch this process leads under; None while it does not lead."""
        return self._leader_epoch

    @property
    def log_start_offset(self) -> int:
        return self._log.state.log_start

    @property
    def high_watermark(self) -> int:
        """Everything below is committed, and only that is read."""
        return self._log.state.high_watermark

    @property
    def log_end_offset(self) -> int:
        return self._log.state.log_end

    @property
    def size(self) -> int:
        return self._log.size

    @property
    def error(self) -> OttlaError | None:
        """Why the replica is offline; None while it is online."""
        return self._log.failure

    async def become_leader(self, epoch: int) -> None:
        """Lead under `epoch`, which is durable before this returns. Again the same: no change.

        On a full disk it leads for readers only: each append tries to make the epoch durable
        first and is refused until that succeeds. Nothing is appended while an epoch changes.

        Raises:
            StaleLeaderEpoch: the log holds that epoch or a newer one from another incarnation.
        """
        self._log.check_online()
        if epoch == self._leader_epoch:
            return
        latest = self._log.epochs.latest
        if latest is not None and epoch <= latest:
            message = f"leader epoch {epoch} is not above {latest}, which the log has seen"
            raise StaleLeaderEpoch(message, metadata=_names(self._log.name, leader_epoch=latest))
        self._leader_epoch = None
        try:
            await self._beginning.begin(epoch)
        except BaseException:
            self.resign()
            raise
        self._leader_epoch = epoch
        self._advance()

    def resign(self) -> None:
        """Lead no longer: what waits for acknowledgement has an unknown outcome."""
        self._leader_epoch = None
        self._commits.fail(lambda: _unknown_outcome(self._log.name, "leadership was lost"))
        self._readers.fail(lambda: _not_leader(self._log.name))

    async def append(
        self, batches: Sequence[Batch], *, acks: Acks, leader_epoch: int | None = None
    ) -> AppendResult:
        """`place`, and wait for what `acks` promises. Raises what either does."""
        placed = await self.place(batches, acks=acks, leader_epoch=leader_epoch)
        return await placed.acknowledged()

    async def place(
        self, batches: Sequence[Batch], *, acks: Acks, leader_epoch: int | None = None
    ) -> PlacedAppend:
        """Append batches, all or none; what `acks` promises may still have to be waited for.

        ALL: flushed (written, where `flush.on.ack=false`); LEADER and NONE: written. Appends are
        ordered as their calls are made: it is placed before anything is waited for. Cancelling
        stops the wait, never the append. Stored as they are: a codec that the topic asks for is
        the caller's to see to.

        Args:
            batches: canonical, at least one; their bytes must stay as they are until this returns.
            acks: what to wait for.
            leader_epoch: the epoch the client believes in; None: not checked.

        Raises:
            NotLeader, StaleLeaderEpoch, RecordTooLarge, CorruptBatch, InvalidRequest,
            StorageFull, StorageOffline: nothing was appended.
        """
        epoch = self._check_leader(leader_epoch)
        log = self._log
        now_ms = self._clock.wall_ms()
        for batch in batches:
            check_batch(batch, log.config, now_ms=now_ms)
        if log.epochs.latest != epoch:
            await self._beginning.finish(epoch)
            self._check_leader(epoch)
        appended = log.append(batches, leader_epoch=epoch, now_ms=now_ms)
        start = log.state.log_start
        result = AppendResult(
            appended.base_offset, appended.next_offset, appended.append_time_ms, start, epoch
        )
        is_committed = log.state.high_watermark >= appended.next_offset
        if acks is not Acks.ALL or is_committed:
            return PlacedAppend(result, None)
        return PlacedAppend(result, self._commits.add(appended.next_offset))

    async def read(self, offset: int, *, max_bytes: int) -> LogSlice | None:
        """Whole batches from the one that holds `offset` on, below the high watermark.

        The slice lies in one segment file and holds one reference to it for the caller, who hands
        it on to the transport or calls `release`. One batch is returned even where it alone exceeds
        `max_bytes`. None: nothing is there yet, `wait_for(offset)` tells when.

        Raises:
            NotLeader: this process does not lead.
            OffsetOutOfRange: below the log's start or behind its end.
        """
        self._check_leader(None)
        state = self._log.state
        if not state.log_start <= offset <= state.log_end:
            error = state.out_of_range(offset)
            raise OffsetOutOfRange(error.message, metadata=_names(self._log.name, **error.metadata))
        if offset >= state.high_watermark:
            return None
        return await self._log.reader.read(offset, max_bytes=max_bytes, limit=state.high_watermark)

    async def load(self, part: LogSlice) -> bytes:
        """The slice's bytes, for a reader that needs them in memory; the slice stays held."""
        return await self._log.reader.load(part)

    async def wait_for(self, offset: int, *, on_ready: Callable[[], None] = _nothing) -> None:
        """Call `on_ready` as soon as the record at `offset` can be read, and return.

        Raises NotLeader, StorageOffline, CorruptLog, UnknownTopicOrPartition: it never will be.
        """
        self._check_leader(None)
        if offset >= self.high_watermark:
            await self._readers.wait(offset, on_ready=on_ready)
        else:
            on_ready()

    def earliest_offset(self) -> int:
        """The first offset the log still holds."""
        self._check_leader(None)
        return self.log_start_offset

    def latest_offset(self) -> int:
        """The offset behind the last committed record."""
        self._check_leader(None)
        return self.high_watermark

    async def offset_for_time(self, timestamp_ms: int) -> TimedOffset | None:
        """The first committed record of this time or later; None if there is none."""
        self._check_leader(None)
        return await self._log.reader.offset_for_time(timestamp_ms, limit=self.high_watermark)

    async def offset_of_max_timestamp(self) -> TimedOffset | None:
        """The first committed record with the largest time; None in an empty log."""
        self._check_leader(None)
        return await self._log.reader.offset_of_max_timestamp(limit=self.high_watermark)

    def check_last_read(self, offset: int, *, last_read_epoch: int) -> None:
        """Returns if a reader that goes on at `offset` has read what this log holds.

        Raises:
            LogTruncated: it has read records that are no more; details name where to resume.
        """
        self._check_leader(None)
        _check_divergence(self._log, offset, last_read_epoch=last_read_epoch)

    async def delete_records(self, before_offset: int | None) -> int:
        """Give up everything below an offset (None: below the high watermark).

        Returns the log's start, durable; whole segments below it go with the next retention.
        Raises OffsetOutOfRange: above the high watermark, or negative.
        """
        self._check_leader(None)
        offset = self.high_watermark if before_offset is None else before_offset
        return await self._log.trim.delete_records(offset)

    async def reconfigure(self, config: LogConfig) -> None:
        """Take new settings. Turning `flush.on.ack` on flushes first: no promise shrinks."""
        if config.flush_on_ack and not self.config.flush_on_ack:
            await self._log.flush()
        self._log.config = config
        self._advance()

    def _check_leader(self, leader_epoch: int | None) -> int:
        self._log.check_online()
        current = self._leader_epoch
        if current is None:
            raise _not_leader(self._log.name)
        if leader_epoch is not None and leader_epoch != current:
            message = f"leader epoch {leader_epoch} is not {current}"
            raise StaleLeaderEpoch(message, metadata=_names(self._log.name, leader_epoch=current))
        return current

    def _advance(self) -> None:
        """One replica: what is flushed is committed; where the topic opted out, what is written."""
        log = self._log
        if self._leader_epoch is None:
            return
        end = log.state.flushed_end if log.config.flush_on_ack else log.state.log_end
        if log.state.advance_high_watermark(end):
            self._commits.committed(end)
            self._readers.committed(end)

    def _fail(self, error: OttlaError) -> None:
        self._commits.fail(lambda: _unknown_outcome(self._log.name, error.message))
        self._readers.fail(lambda: type(error)(error.message, metadata=error.metadata))


def _names(name: ReplicaName, **details: object) -> dict[str, object]:
    return {**name.details, **details}


def _not_leader(name: ReplicaName) -> NotLeader:
    return NotLeader(f"this broker does not lead {name}", metadata=name.details)


def _check_divergence(log: PartitionLog, offset: int, *, last_read_epoch: int) -> None:
    state = log.state
    divergence = log.epochs.divergence(
        offset, epoch=last_read_epoch, log_start=state.log_start, log_end=state.log_end
    )
    if divergence is not None:
        at = divergence.start_offset
        message = f"what was read in epoch {last_read_epoch} holds up to {at}, not to {offset}"
        details = {"divergence_epoch": divergence.epoch, "divergence_offset": at}
        raise LogTruncated(message, metadata={**log.name.details, **details})


def _unknown_outcome(name: ReplicaName, cause: str) -> OutcomeUnknown:
    message = f"{name}: appended, but not known to be durable: {cause}"
    return OutcomeUnknown(message, metadata=name.details)


def deleted_error(name: ReplicaName) -> UnknownTopicOrPartition:
    """The error for a replica that was deleted under its users."""
    return UnknownTopicOrPartition(f"{name} was deleted", metadata=name.details)
