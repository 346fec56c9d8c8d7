"""A batch of records on its way out: filled, sealed, sent once or more, and done once.

Owns the records of one batch, what is known of its fate, and who wants to hear of it. Does not own
when it is sent (`partition_queue`) nor how much all of them hold (`accumulator`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ottla.client.core.error_copies import restated
from ottla.protocol.batch import BATCH_HEAD_SIZE_MAX
from ottla.protocol.errors import OttlaError, OutcomeUnknown
from ottla.protocol.records import RecordInput

RECORD_OVERHEAD: Final = 40
"""Upper bound of what a record's tags, lengths, time and offset take beside its bytes."""
HEADER_OVERHEAD: Final = 16
"""The same for one header."""
BATCH_OVERHEAD: Final = BATCH_HEAD_SIZE_MAX

Sequence = tuple[int, ...]
"""Orders the batches of one producer; the halves of a split batch lie between its neighbours."""


@dataclass(frozen=True, slots=True)
class Appended:
    """The leader has acknowledged the batch."""

    base_offset: int | None
    """Offset of the first record; None with acks=0, where nobody knows."""
    append_time_ms: int
    """The leader's time for all records; 0 where their own hold."""


Outcome = Appended | OttlaError


class OutgoingBatch:
    """Filled by the producer's `send`, then moved along by its partition's queue."""

    __slots__ = (
        "_callbacks",
        "_halves",
        "attempt_count",
        "deadline_ms",
        "entries",
        "failure",
        "frame",
        "is_observed",
        "linger_until_ms",
        "maybe_appended",
        "outcome",
        "partition",
        "record_count",
        "resumes",
        "sequence",
        "size",
        "topic",
    )

    def __init__(
        self,
        topic: str,
        partition: int,
        *,
        sequence: Sequence,
        linger_until_ms: int,
        deadline_ms: int,
    ) -> None:
        self.topic = topic
        self.partition = partition
        self.sequence = sequence
        self.linger_until_ms = linger_until_ms
        self.deadline_ms = deadline_ms
        self.entries: list[RecordInput] = []
        self.size = BATCH_OVERHEAD
        """Upper bound of the frame's bytes, uncompressed."""
        self.record_count = 0
        """Set when sealed; before, `len(entries)` counts."""
        self.frame: bytearray | None = None
        """Set when encoded; from then on `entries` is empty."""
        self.attempt_count = 0
        self.resumes = False
        """The request that carries it asks the leader to take the partition up again."""
        self.maybe_appended = False
        """An attempt ended without anybody knowing whether it was appended."""
        self.failure: OttlaError | None = None
        """What the last attempt failed with."""
        self.outcome: Outcome | None = None
        self.is_observed = False
        """Somebody waits, or waited, for one of its records."""
        self._halves: tuple[tuple[int, OutgoingBatch], ...] = ()
        self._callbacks: list[Callable[[], None]] = []

    @property
    def is_done(self) -> bool:
        """Whether the fate of every record is known."""
        return self.outcome is not None or (
            bool(self._halves) and all(half.is_done for _, half in self._halves)
        )

    def complete(self, outcome: Outcome) -> None:
        """The batch's fate is settled; a failure after an unknown attempt stays unknown."""
        assert self.outcome is None, self.outcome
        if isinstance(outcome, OttlaError):
            outcome = self._honest(outcome)
        self.outcome = outcome
        self.entries = []
        self.frame = None
        self._tell()

    def _honest(self, error: OttlaError) -> OttlaError:
        names = {"topic": self.topic, "partition": self.partition}
        if self.maybe_appended and not isinstance(error, OutcomeUnknown):
            return OutcomeUnknown(
                f"it may have been appended before; the last attempt failed: {error.message}",
                metadata={**names, "last_reason": error.reason},
            )
        return restated(error, details=names)

    def split_into(self, halves: tuple[OutgoingBatch, ...]) -> None:
        """Other batches carry its records from here on, in this order."""
        first_index = 0
        placed = []
        for half in halves:
            placed.append((first_index, half))
            first_index += half.record_count
            half.is_observed = self.is_observed
            half.on_done(self._half_done)
        assert first_index == self.record_count
        self._halves = tuple(placed)
        self.entries = []
        self.frame = None

    def _half_done(self) -> None:
        if self.is_done:
            self._tell()

    def errors(self) -> list[OttlaError]:
        """What records of the batch failed with; empty if all are acknowledged."""
        found = [error for _, half in self._halves for error in half.errors()]
        return [*found, self.outcome] if isinstance(self.outcome, OttlaError) else found

    def fate_of(self, index: int) -> tuple[Outcome | None, int]:
        """What became of a record, and its place in the batch that carried it."""
        for first_index, half in reversed(self._halves):
            if index >= first_index:
                return half.fate_of(index - first_index)
        return self.outcome, index

    def on_done(self, callback: Callable[[], None]) -> None:
        """Call back once the fate of all records is known; at once if it is already."""
        if self.is_done:
            callback()
        else:
            self._callbacks.append(callback)

    def _tell(self) -> None:
        callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()


def record_size(entry: RecordInput) -> int:
    """Upper bound of the bytes that a record takes in a batch, uncompressed."""
    key, value, _, headers = entry
    size = RECORD_OVERHEAD
    if key is not None:
        size += len(key)
    if value is not None:
        size += len(value)
    for name, header_value in headers:
        size += HEADER_OVERHEAD + 4 * len(name) + (len(header_value) if header_value else 0)
    return size
