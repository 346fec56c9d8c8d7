"""What happens to logs that an operator may want to know; the service decides how it is told.

Cores and storage do not log: they hand these to an `EventSink`. `name` is the event's stable name;
the dataclass's fields are its details.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from ottla_broker.core.roll import RollReason


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEvent:
    """Base of all events; `severity` is info, warning or error."""

    name: ClassVar[str]
    severity: ClassVar[str] = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaEvent(LogEvent):
    """An event of one replica."""

    topic: str
    partition: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRolled(ReplicaEvent):
    """A segment was closed and the next one begun."""

    name: ClassVar[str] = "segment.rolled"
    base_offset: int
    reason: RollReason


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentsDeleted(ReplicaEvent):
    """Retention or DeleteRecords removed the oldest segments."""

    name: ClassVar[str] = "segments.deleted"
    count: int
    size: int
    log_start: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TailCut(ReplicaEvent):
    """Recovery cut a torn tail; none of it had been known durable.

    Where it is not known what was, a file keeps the bytes: `kept_in`.
    """

    name: ClassVar[str] = "log.tail_cut"
    severity: ClassVar[str] = "warning"
    log_end: int
    lost_size: int
    cause: str
    kept_in: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogTruncatedTo(ReplicaEvent):
    """The log gave up its end, to agree with its leader's."""

    name: ClassVar[str] = "log.truncated"
    severity: ClassVar[str] = "warning"
    log_end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecovered(ReplicaEvent):
    """A log was opened after an unclean stop."""

    name: ClassVar[str] = "log.recovered"
    log_start: int
    log_end: int
    verified_size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LogCorrupted(ReplicaEvent):
    """Durable data is damaged; the replica is offline and its files are left as they are."""

    name: ClassVar[str] = "log.corrupted"
    severity: ClassVar[str] = "error"
    base_offset: int
    position: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexRebuilt(ReplicaEvent):
    """An index was missing or damaged and has been made anew from its segment."""

    name: ClassVar[str] = "index.rebuilt"
    severity: ClassVar[str] = "warning"
    base_offset: int
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochsRebuilt(ReplicaEvent):
    """The file of leader epochs was missing or damaged and has been made anew from the log."""

    name: ClassVar[str] = "leader_epochs.rebuilt"
    severity: ClassVar[str] = "warning"
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AppendRefusedFull(ReplicaEvent):
    """The disk is full: an append was refused and the file cut back to what it was."""

    name: ClassVar[str] = "append.refused_full"
    severity: ClassVar[str] = "warning"
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaCreated(ReplicaEvent):
    """A replica has its directory."""

    name: ClassVar[str] = "replica.created"
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaDeleted(ReplicaEvent):
    """A replica's directory is set aside, its files are being removed."""

    name: ClassVar[str] = "replica.deleted"
    directory: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectoryFailed(LogEvent):
    """A log directory is offline, with all its replicas, until the broker starts again."""

    name: ClassVar[str] = "log_directory.failed"
    severity: ClassVar[str] = "error"
    directory: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckpointDamaged(LogEvent):
    """A directory's checkpoint cannot be read: all its logs are verified from their beginning."""

    name: ClassVar[str] = "checkpoint.damaged"
    severity: ClassVar[str] = "error"
    directory: str
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftoverRemoved(LogEvent):
    """Something an interrupted operation had left behind is gone."""

    name: ClassVar[str] = "leftover.removed"
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryIgnored(LogEvent):
    """A log directory holds something that is not ours; it is left alone."""

    name: ClassVar[str] = "log_directory.entry_ignored"
    severity: ClassVar[str] = "warning"
    path: str
    cause: str


EventSink = Callable[[LogEvent], None]
"""Takes events as they happen; may be called from any thread."""
