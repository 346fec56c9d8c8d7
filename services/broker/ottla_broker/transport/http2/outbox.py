"""What one stream still has to send: pieces of DATA and header blocks, in order.

Pure bookkeeping: sizes are counted here so that bounds can be enforced above; windows and frames
are the scheduler's. An outbox holds each file range of a queued message by the reference it was
given and gives it up when the range is cut into its last frame or the outbox is dropped.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import final

from ottla_broker.transport.stream import FileOwner, FileRange, Part


@final
@dataclass(frozen=True, slots=True)
class HeaderBlock:
    """An encoded header list; `end_stream` says that nothing follows."""

    block: bytes
    end_stream: bool


@final
class FileCursor:
    """The part of a queued file range that is not cut into frames yet."""

    __slots__ = ("file", "position", "remaining", "warm_until_ms", "warm_until_position")

    def __init__(self, source: FileRange) -> None:
        self.file: FileOwner = source.file
        self.position = source.position
        self.remaining = source.size
        self.warm_until_position = source.position
        self.warm_until_ms = -1

    def cut(self, size: int) -> FileRange:
        """The next `size` bytes as a range that holds its own reference to the file."""
        piece = FileRange(self.file, self.position, size)
        self.position += size
        self.remaining -= size
        if self.remaining:
            self.file.acquire()
        # The last piece takes the cursor's reference over.
        return piece


Queued = bytes | memoryview | FileCursor | HeaderBlock


class Hold(Enum):
    """Why a stream with something to send is not in the scheduler's line."""

    NOTHING = auto()
    STREAM_WINDOW = auto()
    CONNECTION_WINDOW = auto()
    COLD_FILE = auto()


class Outbox:
    """The queue of one stream; `size` counts all bytes of DATA, `memory_size` those in memory."""

    __slots__ = (
        "awaits_window",
        "hold",
        "items",
        "memory_size",
        "scheduled",
        "size",
        "watched",
    )

    def __init__(self) -> None:
        self.items: deque[Queued] = deque()
        self.size = 0
        self.memory_size = 0
        self.scheduled = False
        self.hold = Hold.NOTHING
        # Somebody waits for room: the scheduler reports when bytes leave.
        self.watched = False
        # Somebody waits for the stream's window with nothing queued: reported when it opens.
        self.awaits_window = False

    def put(self, parts: Sequence[Part]) -> int:
        """Queue the pieces of a message; returns how many of its bytes are in memory."""
        items = self.items
        size = memory_size = 0
        for part in parts:
            if type(part) is FileRange:
                if part.size:
                    size += part.size
                    items.append(FileCursor(part))
                else:
                    part.file.release()
            elif part:
                memory_size += len(part)
                items.append(part)
        self.size += size + memory_size
        self.memory_size += memory_size
        return memory_size

    def drop(self) -> int:
        """Forget everything queued; returns how many bytes in memory that frees."""
        for item in self.items:
            if type(item) is FileCursor:
                item.file.release()
        freed, self.memory_size, self.size = self.memory_size, 0, 0
        self.items.clear()
        return freed
