"""What to do with a log whose process stopped without a word: scan results in, a verdict out.

                        recovery point
        ... sealed, flushed ... │ ... written, perhaps flushed, perhaps torn ...
        damage here: CORRUPT_LOG │ damage here: a torn tail, cut at the last whole batch

Everything below the recovery point was flushed before the mark was made, so damage there is the
disk's, and cutting would lose acknowledged records: the log is left as it is and reported. Knows
no files; `BatchOrder` checks what a scan meets, the storage does the reading.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Defect:
    """Why a scan went no further, and where: the first byte that is not part of a whole batch."""

    position: int
    message: str


@dataclass(frozen=True, slots=True)
class SegmentScan:
    """What a scan of one segment found: `size` bytes, whole batches up to `valid_size`."""

    base_offset: int
    size: int
    valid_size: int
    next_offset: int
    defect: Defect | None = None


@dataclass(frozen=True, slots=True)
class Sound:
    """The log is whole up to `log_end`."""

    log_end: int


@dataclass(frozen=True, slots=True)
class CutTail:
    """Cut the segment at `base_offset` to `size` bytes and remove every later one."""

    log_end: int
    base_offset: int
    size: int
    lost_size: int
    lost_segment_count: int
    message: str


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Data that was durable is damaged or gone; nothing may be changed."""

    base_offset: int
    position: int
    message: str


Verdict = Sound | CutTail | Corrupt


class BatchOrder:
    """Checks that batches follow each other: offsets without a gap, epochs that never fall."""

    __slots__ = ("leader_epoch", "next_offset")

    def __init__(self, next_offset: int, leader_epoch: int = 0) -> None:
        self.next_offset = next_offset
        self.leader_epoch = leader_epoch

    def problem(self, *, base_offset: int, last_offset: int, leader_epoch: int) -> str | None:
        """Takes the batch, or says why it cannot stand here."""
        if base_offset != self.next_offset:
            return f"batch begins at offset {base_offset} instead of {self.next_offset}"
        if last_offset < base_offset:
            return f"batch ends at offset {last_offset} before it begins"
        if leader_epoch < self.leader_epoch:
            return f"leader epoch {leader_epoch} follows {self.leader_epoch}"
        self.next_offset = last_offset + 1
        self.leader_epoch = leader_epoch
        return None


def judge(scans: list[SegmentScan], *, recovery_point: int) -> Verdict:
    """What the scans of all segments, in order, mean for a log flushed up to `recovery_point`.

    A segment that begins elsewhere than its predecessor ends is a defect of the predecessor.
    """
    assert scans
    for number, scan in enumerate(scans):
        later = scans[number + 1 :]
        defect = scan.defect
        if defect is None and later and later[0].base_offset != scan.next_offset:
            message = f"the next segment begins at offset {later[0].base_offset}"
            defect = Defect(scan.valid_size, f"ends at offset {scan.next_offset}, but {message}")
        if defect is None:
            continue
        if scan.next_offset < recovery_point:
            return Corrupt(scan.base_offset, defect.position, defect.message)
        return CutTail(
            log_end=scan.next_offset,
            base_offset=scan.base_offset,
            size=scan.valid_size,
            lost_size=scan.size - scan.valid_size + sum(one.size for one in later),
            lost_segment_count=len(later),
            message=defect.message,
        )
    last = scans[-1]
    if last.next_offset < recovery_point:
        message = f"log ends at offset {last.next_offset}, but {recovery_point} was durable"
        return Corrupt(last.base_offset, last.size, message)
    return Sound(last.next_offset)
