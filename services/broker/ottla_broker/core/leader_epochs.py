"""Under which leader epoch which offsets were written.

    epoch   0      3             4
    start   0     120           950            epoch 3 wrote 120 to 949

Owns the list and what follows from it: up to where two logs that share an epoch agree, and what is
left of the list when a log loses its end or its beginning. Kept in a file by the storage.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from operator import attrgetter

_EPOCH = attrgetter("epoch")
_START = attrgetter("start_offset")


@dataclass(frozen=True, slots=True)
class EpochStart:
    """A leader epoch and the first offset written under it."""

    epoch: int
    start_offset: int


class LeaderEpochs:
    """The epochs of one log, both columns growing."""

    __slots__ = ("_entries",)

    def __init__(self, entries: Iterable[EpochStart] = ()) -> None:
        """Raises ValueError if the entries do not grow."""
        self._entries: list[EpochStart] = []
        for entry in entries:
            self._check(entry)
            self._entries.append(entry)

    @property
    def entries(self) -> tuple[EpochStart, ...]:
        """All entries, oldest first."""
        return tuple(self._entries)

    @property
    def latest(self) -> int | None:
        """The newest epoch; None in a log that never had a leader."""
        return self._entries[-1].epoch if self._entries else None

    def begin(self, epoch: int, start_offset: int) -> bool:
        """`epoch` writes from `start_offset` on; True if that is news.

        An epoch that wrote nothing leaves no trace but its number: its successor takes its place.
        Raises ValueError if the epoch is older than the newest, or begins before it.
        """
        if self._entries and self._entries[-1].epoch == epoch:
            return False
        entry = EpochStart(epoch, start_offset)
        self._check(entry)
        if self._entries and self._entries[-1].start_offset == start_offset:
            self._entries.pop()
        self._entries.append(entry)
        return True

    def end_offset(self, epoch: int, *, log_end: int) -> EpochStart | None:
        """The largest known epoch up to `epoch`, with the offset behind its last record.

        None if the log holds nothing that old. A reader whose last record has a larger offset in
        that epoch has read what is no longer there.
        """
        slot = bisect_right(self._entries, epoch, key=_EPOCH)
        if slot == 0:
            return None
        end = self._entries[slot].start_offset if slot < len(self._entries) else log_end
        return EpochStart(self._entries[slot - 1].epoch, end)

    def divergence(
        self, offset: int, *, epoch: int, log_start: int, log_end: int
    ) -> EpochStart | None:
        """Where this log parts from one that was read up to `offset`, last under `epoch`.

        None if it holds what was read. Otherwise the epoch and offset up to which both agree.
        """
        if offset <= log_start:
            return None
        end = self.end_offset(epoch, log_end=log_end) or EpochStart(epoch, log_start)
        if end.epoch == epoch and end.start_offset >= offset:
            return None
        return EpochStart(end.epoch, min(offset, max(end.start_offset, log_start)))

    def truncate_end(self, log_end: int) -> bool:
        """The log ends at `log_end`: epochs that began there or later are forgotten."""
        slot = bisect_left(self._entries, log_end, key=_START)
        changed = slot < len(self._entries)
        del self._entries[slot:]
        return changed

    def truncate_start(self, log_start: int) -> bool:
        """The log begins at `log_start`: the epoch that wrote it begins there, older ones go."""
        slot = bisect_right(self._entries, log_start, key=_START)
        if slot == 0 or (slot == 1 and self._entries[0].start_offset == log_start):
            return False
        self._entries[:slot] = [EpochStart(self._entries[slot - 1].epoch, log_start)]
        return True

    def _check(self, entry: EpochStart) -> None:
        if entry.epoch < 0 or entry.start_offset < 0:
            raise ValueError(f"{entry} is negative")
        if not self._entries:
            return
        last = self._entries[-1]
        if entry.epoch <= last.epoch or entry.start_offset < last.start_offset:
            raise ValueError(f"{entry} does not follow {last}")
