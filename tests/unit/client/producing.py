"""Queues and batches for tests of the producer's core, and a leader that keeps its rules."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ottla.client.core.accumulator import Accumulator, AccumulatorTerms, split
from ottla.client.core.outgoing_batch import Appended, OutgoingBatch, record_size
from ottla.client.core.partition_queue import PartitionQueue, QueueTerms
from ottla.client.core.retries import Backoff
from ottla.protocol.errors import NotEnoughReplicas, OttlaError, OutcomeUnknown

NODE = 1


def queue_terms(**given: object) -> QueueTerms:
    terms: dict[str, object] = {
        "batch_size": 1_000,
        "batch_size_max": 10_000,
        "in_flight_max": 3,
        "retries_max": None,
        "backoff": Backoff(first_ms=10, longest_ms=100),
        "split": split,
        "on_sealed": lambda _topic, _partition: None,
    }
    return QueueTerms(**(terms | given))  # type: ignore[arg-type]  # names as the class has them


def batch(number: int, *, size: int = 1_000, deadline_ms: int = 10**9) -> OutgoingBatch:
    made = OutgoingBatch(
        "flights", 0, sequence=(number,), linger_until_ms=5, deadline_ms=deadline_ms
    )
    entry = (None, b"%d" % number, 7, ())
    made.entries = [entry]
    made.size = max(size, made.size + record_size(entry))
    return made


def queue_of(*batches: OutgoingBatch, **terms: object) -> PartitionQueue:
    """A queue with these batches sealed, in order."""
    queue = PartitionQueue("flights", 0, terms=queue_terms(**terms))
    for each in batches:
        queue.open = each
        queue.seal()
    return queue


def sent(queue: PartitionQueue, *, now_ms: int = 0) -> list[OutgoingBatch]:
    """Everything the queue gives out now."""
    found = []
    while (each := queue.next_batch(NODE, now_ms)) is not None:
        found.append(each)
    return found


def accumulator(
    *, on_ready: Callable[[PartitionQueue], None] = lambda _: None, **terms: int
) -> Accumulator:
    return Accumulator(
        AccumulatorTerms(**terms),  # type: ignore[arg-type]  # numbers all of them
        on_ready=on_ready,
        on_sealed=lambda _topic, _partition: None,
    )


def fill(held: Accumulator, value: bytes, *, partition: int = 0, now_ms: int = 0) -> OutgoingBatch:
    """Add a record as the producer does."""
    queue = held.queue("flights", partition)
    entry = (None, value, now_ms, ())
    size = record_size(entry)
    made = queue.open
    if made is None or made.size + size > queue.batch_size_max:
        made = held.open_batch(queue, now_ms)
    made.entries.append(entry)
    made.size += size
    held.used_size += size
    return made


@dataclass
class Leader:
    """Takes batches as a leader does: nothing behind one that failed, until told to resume."""

    log: list[tuple[int, ...]] = field(default_factory=list)
    failed: OttlaError | None = None

    def take(self, request: OutgoingBatch, fate: str) -> Appended | OttlaError:
        """What it answers: appended unless the fate is `refused`, unless it refuses anyway."""
        if self.failed is not None and not request.resumes:
            return self.failed
        self.failed = None
        if fate == "refused":
            self.failed = NotEnoughReplicas("too few")
            return self.failed
        self.log.append(request.sequence)
        if fate == "unknown":
            self.failed = OutcomeUnknown("flush failed")
            return self.failed
        return Appended(len(self.log) - 1, 0)

    def reconnected(self) -> None:
        """A new stream: what failed on the one before is forgotten."""
        self.failed = None
