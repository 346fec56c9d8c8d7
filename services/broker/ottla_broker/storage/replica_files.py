"""The directory of one replica: which files are in it, and those that are not segments.

partition.meta      topic id, name, partition             written before anything else
leader-epochs       (epoch, first offset) of the log      but for the latest: `kept_epochs`
corrupt-log.json    what is wrong with the log            there only when something is
<base>.log, .index, .timeindex, .indexlog                 `segment`
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ottla.protocol.errors import CorruptLog
from ottla_broker.core.documents import DamagedDocumentError, decode_document, encode_document
from ottla_broker.core.leader_epochs import EpochStart, LeaderEpochs
from ottla_broker.core.log_events import LogCorrupted
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.core.sparse_index import IndexBuilder
from ottla_broker.storage.filesystem import TEMPORARY_SUFFIX, Entry, Filesystem, replace_file
from ottla_broker.storage.index_log import INDEX_LOG_SUFFIX
from ottla_broker.storage.segment import (
    INDEX_SUFFIX,
    LOG_SUFFIX,
    TIME_INDEX_SUFFIX,
    Segment,
)

NAME_FILE = "partition.meta"
EPOCHS_FILE = "leader-epochs"
CORRUPTION_FILE = "corrupt-log.json"

_EPOCHS_KIND = "leader-epochs"
_CORRUPTION_KIND = "corrupt-log"
_BASE_OFFSET_DIGITS = 20


@dataclass(frozen=True, slots=True)
class ReplicaFiles:
    """Paths and small files of one replica; all methods but `create_segment` block."""

    directory: Path
    name: ReplicaName
    filesystem: Filesystem

    def create_segment(self, base_offset: int, *, now_ms: int, interval_bytes: int) -> Segment:
        """A new, empty segment that can be appended to. Raises OSError."""
        segment = self.segment(base_offset, created_ms=now_ms)
        fd = self.filesystem.open(segment.path, create=True)
        segment.grow(fd, IndexBuilder(base_offset, interval_bytes=interval_bytes))
        return segment

    def segment(self, base_offset: int, *, created_ms: int) -> Segment:
        """A segment whose file is there, or is about to be."""
        return Segment(
            self.directory,
            base_offset=base_offset,
            filesystem=self.filesystem,
            created_ms=created_ms,
        )

    def write_epochs(self, epochs: LeaderEpochs) -> None:
        """Replace the file of leader epochs, durably. Raises OSError."""
        body = {"epochs": [[one.epoch, one.start_offset] for one in epochs.entries]}
        path = self.directory / EPOCHS_FILE
        replace_file(self.filesystem, path, encode_document(_EPOCHS_KIND, body))

    def read_epochs(self) -> LeaderEpochs | None:
        """The leader epochs on file; None if there is no file. Raises DamagedDocumentError."""
        path = self.directory / EPOCHS_FILE
        if not self.filesystem.exists(path):
            return None
        body = decode_document(_EPOCHS_KIND, self.filesystem.read_file(path))
        try:
            return LeaderEpochs(EpochStart(int(epoch), int(at)) for epoch, at in body["epochs"])
        except (KeyError, TypeError, ValueError) as error:
            raise DamagedDocumentError(f"unreadable: {error!r}") from None

    def write_corruption(self, event: LogCorrupted) -> None:
        """Remember that the log is damaged. Raises OSError."""
        body = {
            "base_offset": event.base_offset,
            "position": event.position,
            "cause": event.cause,
        }
        path = self.directory / CORRUPTION_FILE
        replace_file(self.filesystem, path, encode_document(_CORRUPTION_KIND, body))

    def read_corruption(self) -> LogCorrupted | None:
        """What is wrong with the log, if that is known."""
        path = self.directory / CORRUPTION_FILE
        if not self.filesystem.exists(path):
            return None
        try:
            body = decode_document(_CORRUPTION_KIND, self.filesystem.read_file(path))
            facts = int(body["base_offset"]), int(body["position"]), str(body["cause"])
        except (DamagedDocumentError, KeyError, TypeError, ValueError):
            facts = 0, 0, f"{CORRUPTION_FILE} is there, but cannot be read"
        return LogCorrupted(
            topic=self.name.topic,
            partition=self.name.partition,
            base_offset=facts[0],
            position=facts[1],
            cause=facts[2],
        )

    def corrupt_log(self, event: LogCorrupted) -> CorruptLog:
        """The error that users of a damaged log get."""
        return CorruptLog(
            f"{self.name}: segment {event.base_offset} at {event.position}: {event.cause}; "
            f"the files in {self.directory} are left as they are",
            metadata=self.name.details,
        )


def base_offset_of(entry: Entry, suffix: str = LOG_SUFFIX) -> int | None:
    """The base offset that a segment's file is named for; None for any other file."""
    stem = entry.name.removesuffix(suffix)
    if entry.is_directory or stem == entry.name or len(stem) != _BASE_OFFSET_DIGITS:
        return None
    return int(stem) if stem.isascii() and stem.isdigit() else None


def is_leftover(entry: Entry, base_offsets: set[int]) -> bool:
    """Whether a file was left by an interrupted operation: half written, or of no segment."""
    if entry.name.endswith(TEMPORARY_SUFFIX):
        return True
    for suffix in (INDEX_SUFFIX, TIME_INDEX_SUFFIX, INDEX_LOG_SUFFIX):
        base_offset = base_offset_of(entry, suffix)
        if base_offset is not None:
            return base_offset not in base_offsets
    return False
