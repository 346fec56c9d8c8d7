"""One segment of a log: its file, its two indexes, and what is known of it as a whole.

    growing    file open, indexes in memory, kept in `.indexlog`   the last segment of a log
    sealed     the same, nothing is appended                       until the next flush
    settled    file opened when somebody reads, indexes mapped     `.index`, `.timeindex` written

Owns the files `<base>.log`, `<base>.index`, `<base>.timeindex`, `<base>.indexlog`. Does not decide
when to roll, what to delete or what to believe after a crash.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ottla_broker.core.index_file import (
    INDEX_HEAD_SIZE,
    DamagedIndexError,
    IndexHead,
    IndexKind,
    decode_head,
    decode_index,
    encode_index,
)
from ottla_broker.core.index_log import LoggedIndex
from ottla_broker.core.retention import SegmentFacts
from ottla_broker.core.roll import SegmentShape
from ottla_broker.core.sparse_index import (
    NO_TIMESTAMP,
    Column,
    IndexBuilder,
    OffsetIndex,
    TimeIndex,
)
from ottla_broker.storage.filesystem import Filesystem, replace_file
from ottla_broker.storage.index_log import INDEX_LOG_SUFFIX, IndexLog, PendingPiece
from ottla_broker.storage.segment_file import SegmentFile

LOG_SUFFIX = ".log"
INDEX_SUFFIX = ".index"
TIME_INDEX_SUFFIX = ".timeindex"

_INDEX_FILES = ((INDEX_SUFFIX, IndexKind.OFFSET), (TIME_INDEX_SUFFIX, IndexKind.TIME))

Indexes = tuple[OffsetIndex, TimeIndex]


def segment_path(directory: Path, base_offset: int, suffix: str = LOG_SUFFIX) -> Path:
    """Where a file of a segment is: named for its first offset, so that names sort as offsets."""
    return directory / f"{base_offset:020d}{suffix}"


class Segment:
    """One segment. The event loop's thread changes it; other threads only read held files."""

    def __init__(
        self, directory: Path, *, base_offset: int, filesystem: Filesystem, created_ms: int
    ) -> None:
        self.directory = directory
        self.base_offset = base_offset
        self.next_offset = base_offset
        self.size = 0
        self.created_ms = created_ms
        self.max_timestamp_ms = NO_TIMESTAMP
        self._filesystem = filesystem
        self._file: SegmentFile | None = None
        self._builder: IndexBuilder | None = None
        self._indexes: Indexes | None = None
        self._index_log: IndexLog | None = None

    @property
    def path(self) -> Path:
        return segment_path(self.directory, self.base_offset)

    @property
    def facts(self) -> SegmentFacts:
        """What retention decides on."""
        return SegmentFacts(self.base_offset, self.next_offset, self.size, self.max_timestamp_ms)

    @property
    def shape(self) -> SegmentShape:
        """What rolling is decided on."""
        assert self._builder is not None, "the segment is settled"
        index_size = self._builder.offset_index.size
        return SegmentShape(self.base_offset, self.size, index_size, self.created_ms)

    @property
    def is_settled(self) -> bool:
        """Whether the segment is durable and its indexes are in their files."""
        return self._builder is None

    def grow(self, fd: int, builder: IndexBuilder, *, logged: LoggedIndex | None = None) -> None:
        """Take a file open for writing and its indexes so far, to append to.

        `logged` is what of them the index log has; without it, the log begins anew.
        """
        assert self._file is None
        self._file = SegmentFile(fd, filesystem=self._filesystem)
        self._builder = builder
        self._indexes = builder.offset_index, builder.time_index
        path = segment_path(self.directory, self.base_offset, INDEX_LOG_SUFFIX)
        self._index_log = IndexLog(path, logged)
        self.max_timestamp_ms = builder.max_timestamp_ms

    def adopt(self, head: IndexHead) -> None:
        """Believe what the index files say of a settled segment."""
        self.size = head.log_size
        self.next_offset = head.next_offset
        self.created_ms = head.created_ms
        self.max_timestamp_ms = head.max_timestamp_ms

    def index(self, *, base_offset: int, position: int, size: int, max_timestamp_ms: int) -> None:
        """Take note of a batch that is being appended."""
        assert self._builder is not None, "the segment is settled"
        self._builder.add(
            base_offset=base_offset,
            position=position,
            size=size,
            max_timestamp_ms=max_timestamp_ms,
        )
        self.max_timestamp_ms = self._builder.max_timestamp_ms

    @property
    def head(self) -> IndexHead:
        """What the index files say of the segment as it is now."""
        return IndexHead(
            base_offset=self.base_offset,
            log_size=self.size,
            next_offset=self.next_offset,
            max_timestamp_ms=self.max_timestamp_ms,
            created_ms=self.created_ms,
        )

    def hold(self) -> SegmentFile:
        """The open file, held once more for the caller. Raises OSError."""
        if self._file is not None and self._file.is_open:
            self._file.acquire()
        else:
            fd = self._filesystem.open(self.path)
            self._file = SegmentFile(fd, filesystem=self._filesystem)
        return self._file

    @property
    def indexes(self) -> Indexes | None:
        """Both indexes if they are in memory; `load_indexes` brings those of a settled segment."""
        return self._indexes

    def load_indexes(self) -> Indexes:
        """Map and check both index files; blocking. Raises DamagedIndexError."""
        if self._indexes is None:
            columns = [self._map(suffix, kind) for suffix, kind in _INDEX_FILES]
            self._indexes = OffsetIndex(*columns[0]), TimeIndex(*columns[1])
        return self._indexes

    def use_indexes(self, indexes: Indexes) -> None:
        """Take indexes that were made anew from the segment."""
        self._indexes = indexes

    def forget_indexes(self) -> None:
        """Nobody reads a settled segment any more: let go of its mapped indexes."""
        if self.is_settled:
            self._indexes = None

    def read_index_head(self) -> IndexHead:
        """What the index files say of the segment, cheaply; blocking. Raises DamagedIndexError."""
        heads = [self._read_head(suffix, kind) for suffix, kind in _INDEX_FILES]
        if heads[0] != heads[1] or heads[0].base_offset != self.base_offset:
            raise DamagedIndexError("the files are not of this segment")
        return heads[0]

    def index_piece(
        self, *, leader_epoch: int, now_ms: int, is_last: bool = False
    ) -> PendingPiece | None:
        """What is to be added to the index log once the segment is flushed as it is now.

        None if that is not worth it; the last piece, when the log is closed, always is.
        """
        if self._index_log is None or self._indexes is None:
            return None
        if not is_last and not self._index_log.is_due(self.size, now_ms=now_ms):
            return None
        return self._index_log.piece(
            self.head, self._indexes, leader_epoch=leader_epoch, now_ms=now_ms
        )

    def write_indexes(self, head: IndexHead, indexes: Indexes) -> None:
        """Write both index files, for good; blocking. Damage is found when they are read."""
        files = encode_index(head, indexes[0]), encode_index(head, indexes[1])
        for (suffix, _), data in zip(_INDEX_FILES, files, strict=True):
            path = segment_path(self.directory, self.base_offset, suffix)
            replace_file(self._filesystem, path, data, durable=False)
        self._unlink(INDEX_LOG_SUFFIX)

    def settle(self) -> None:
        """The segment is durable and its indexes are in their files: let go of both."""
        self.close()
        self._indexes = None

    def close(self) -> None:
        """Append no more and let go of the file; readers keep it as long as they need it."""
        if self._builder is not None:
            assert self._file is not None
            self._builder = None
            self._index_log = None
            self._file.release()

    def remove(self) -> None:
        """Unlink all files, the log first; blocking. Who holds the file can still read it."""
        self._unlink(LOG_SUFFIX)
        self.remove_indexes()

    def remove_indexes(self) -> None:
        """Unlink the index files, before the segment becomes another; blocking."""
        self._unlink(INDEX_SUFFIX)
        self._unlink(TIME_INDEX_SUFFIX)
        self._unlink(INDEX_LOG_SUFFIX)

    def _unlink(self, suffix: str) -> None:
        path = segment_path(self.directory, self.base_offset, suffix)
        if self._filesystem.exists(path):
            with suppress(FileNotFoundError):  # a flush under way may be removing it too
                self._filesystem.unlink(path)

    def _read_head(self, suffix: str, kind: IndexKind) -> IndexHead:
        path = segment_path(self.directory, self.base_offset, suffix)
        try:
            fd = self._filesystem.open(path)
        except FileNotFoundError:
            raise DamagedIndexError(f"{path.name} is missing") from None
        try:
            return decode_head(self._filesystem.pread(fd, INDEX_HEAD_SIZE, 0), kind)
        finally:
            self._filesystem.close(fd)

    def _map(self, suffix: str, kind: IndexKind) -> tuple[Column, Column]:
        path = segment_path(self.directory, self.base_offset, suffix)
        try:
            data = self._filesystem.map(path)
        except FileNotFoundError:
            raise DamagedIndexError(f"{path.name} is missing") from None
        head, first, second = decode_index(data, kind)
        if head != self.head:
            raise DamagedIndexError(f"{path.name} is not of this segment")
        return first, second
