"""The batches of one partition, in order: filled, sent several at a time, sent again in order.

    open ──seal──► waiting ──► sent ──► done
                      ▲          │ failed, or refused because one before it failed
                      └──────────┘ once nothing is on the wire any more

After a batch fails, its leader refuses the partition's later ones on the same stream until a
request says that it resumes. So whatever fails waits until everything sent is answered; then all
of it goes out again, in order, the first with that mark. Pure; one producer's task owns it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from ottla.client.core.error_copies import restated
from ottla.client.core.outgoing_batch import Appended, OutgoingBatch, Sequence
from ottla.client.core.retries import Backoff, Verdict, leaves_open, verdict
from ottla.protocol.errors import LeaderNotAvailable, OttlaError, OutcomeUnknown


@dataclass(frozen=True, slots=True)
class QueueTerms:
    """What all queues of one producer have in common; sizes in bytes."""

    batch_size: int
    """A batch of this size waits no longer for more records."""
    batch_size_max: int
    """What a batch may grow to while the partition has enough on the wire."""
    in_flight_max: int
    retries_max: int | None
    backoff: Backoff
    split: Callable[[OutgoingBatch], tuple[OutgoingBatch, ...]]
    """Its records in smaller batches; empty if there is but one."""
    on_sealed: Callable[[str, int], None]
    """Told of the partition whose batch takes no more records."""


class PartitionQueue:
    """Everything of one partition that isn't acknowledged yet."""

    __slots__ = (
        "_failed_at",
        "_failure_count",
        "_resumes",
        "_returned",
        "_sent",
        "_terms",
        "_waiting",
        "batch_size_max",
        "is_scheduled",
        "node_id",
        "open",
        "partition",
        "retry_at_ms",
        "sealed_up_to",
        "topic",
        "topic_id",
    )

    def __init__(self, topic: str, partition: int, *, terms: QueueTerms) -> None:
        self.topic = topic
        self.partition = partition
        self.open: OutgoingBatch | None = None
        """The batch that `send` fills."""
        self.batch_size_max = terms.batch_size_max
        """Shrinks when the topic turns out to take less."""
        self.is_scheduled = False
        """Somebody is about to look at it."""
        self.node_id: int | None = None
        """Where what is on the wire was sent."""
        self.retry_at_ms = 0
        self.topic_id: bytes | None = None
        """The topic that the records were meant for; set when the first is sent."""
        self.sealed_up_to: Sequence = ()
        """Batches up to here wait for no more records: somebody flushes."""
        self._terms = terms
        self._waiting: deque[OutgoingBatch] = deque()
        self._sent: deque[OutgoingBatch] = deque()
        self._returned: list[OutgoingBatch] = []
        self._failed_at: Sequence | None = None
        self._resumes = False
        self._failure_count = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is here, in whatever state."""
        return not (self._waiting or self._sent or self._returned or self.open)

    @property
    def sent_count(self) -> int:
        """Batches on the wire."""
        return len(self._sent)

    def batches(self) -> list[OutgoingBatch]:
        """Everything here, in order."""
        found = sorted([*self._sent, *self._returned], key=lambda batch: batch.sequence)
        found += self._waiting
        return found if self.open is None else [*found, self.open]

    def seal(self) -> None:
        """Close the open batch; more records begin another."""
        batch, self.open = self.open, None
        if batch is not None:
            batch.record_count = len(batch.entries)
            self._waiting.append(batch)
            self._terms.on_sealed(self.topic, self.partition)

    def next_batch(self, node_id: int, now_ms: int) -> OutgoingBatch | None:
        """The batch to send to a broker now, which counts as sent from here on."""
        if not self._may_send(node_id, now_ms):
            return None
        if not self._waiting and self._is_ripe(now_ms):
            self.seal()
        if not self._waiting:
            return None
        batch = self._waiting.popleft()
        batch.resumes, self._resumes = self._resumes, False
        batch.attempt_count += 1
        self.node_id = node_id
        self._sent.append(batch)
        return batch

    def _may_send(self, node_id: int, now_ms: int) -> bool:
        if self._failed_at is not None or now_ms < self.retry_at_ms:
            return False
        return not self._sent or (
            self.node_id == node_id and len(self._sent) < self._terms.in_flight_max
        )

    def _is_ripe(self, now_ms: int) -> bool:
        batch = self.open
        if batch is None:
            return False
        return (
            not self._sent
            or batch.size >= self._terms.batch_size
            or now_ms >= batch.linger_until_ms
            or batch.sequence <= self.sealed_up_to
        )

    def succeeded(self, batch: OutgoingBatch, outcome: Appended) -> None:
        """The leader acknowledged a batch; ignored if its time is over already."""
        if batch not in self._sent:
            return
        self._sent.remove(batch)
        self._failure_count = 0
        batch.complete(outcome)
        self._settle()

    def failed(
        self,
        batch: OutgoingBatch,
        error: OttlaError,
        *,
        now_ms: int,
        chance: float | None,
        is_answer: bool = True,
    ) -> None:
        """An attempt failed: by the leader's answer, or because the stream broke.

        Args:
            batch: what was sent.
            error: what it failed with.
            now_ms: monotonic time.
            chance: 0 to below 1, spreads the waits; None: the right leader is known, don't wait.
            is_answer: the leader says so; otherwise nobody knows what it did.
        """
        if batch not in self._sent:
            return
        self._sent.remove(batch)
        is_refusal = self._failed_at is not None and batch.sequence > self._failed_at
        if is_answer and is_refusal:
            # Not its own failure: the leader takes nothing behind the one that failed. Where that
            # one's fate is open, so is this one's.
            batch.maybe_appended |= leaves_open(error, is_answer=True)
            batch.attempt_count -= 1
            self._returned.append(batch)
        else:
            self._judge(batch, error, now_ms=now_ms, chance=chance, is_answer=is_answer)
        self._settle()

    def _judge(
        self,
        batch: OutgoingBatch,
        error: OttlaError,
        *,
        now_ms: int,
        chance: float | None,
        is_answer: bool,
    ) -> None:
        if self._failed_at is None or batch.sequence < self._failed_at:
            self._failed_at = batch.sequence
        batch.failure = error
        batch.maybe_appended |= leaves_open(error, is_answer=is_answer)
        terms = self._terms
        match verdict(error, attempt_count=batch.attempt_count, retries_max=terms.retries_max):
            case Verdict.RETRY:
                self._failure_count += 1
                if chance is not None:
                    wait_ms = terms.backoff.wait_ms(
                        self._failure_count, chance=chance, least_ms=error.retry_after_ms
                    )
                    self.retry_at_ms = max(self.retry_at_ms, now_ms + wait_ms)
                self._returned.append(batch)
            case Verdict.SPLIT:
                self._split(batch, error)
            case Verdict.GIVE_UP:
                batch.complete(self._final(batch, error))

    def _final(self, batch: OutgoingBatch, error: OttlaError) -> OttlaError:
        if batch.maybe_appended and not isinstance(error, OutcomeUnknown):
            return OutcomeUnknown(f"it may have been appended: {error.message}")
        return error

    def _split(self, batch: OutgoingBatch, error: OttlaError) -> None:
        halves = self._terms.split(batch)
        if not halves:
            batch.complete(error)
            return
        # The topic takes less than we thought: don't run into it with every batch.
        self.batch_size_max = max(min(half.size for half in halves), self._terms.batch_size // 16)
        batch.split_into(halves)
        self._returned.extend(halves)

    def link_lost(self, error: OttlaError, *, now_ms: int, chance: float) -> None:
        """The stream that carried the sent batches is gone: nobody knows of any of them."""
        for batch in list(self._sent):
            self.failed(batch, error, now_ms=now_ms, chance=chance, is_answer=False)

    def expire(self, now_ms: int) -> None:
        """Give up what could not be delivered in time."""
        while self._waiting and self._waiting[0].deadline_ms <= now_ms:
            self._expired(self._waiting.popleft(), is_sent=False)
        for batch in [batch for batch in self._sent if batch.deadline_ms <= now_ms]:
            self._sent.remove(batch)
            self._expired(batch, is_sent=True)
        for batch in [batch for batch in self._returned if batch.deadline_ms <= now_ms]:
            self._returned.remove(batch)
            self._expired(batch, is_sent=False)
        if self.open is not None and self.open.deadline_ms <= now_ms:
            batch, self.open = self.open, None
            batch.record_count = len(batch.entries)
            self._expired(batch, is_sent=False)
        self._settle()

    def abandon(self, error: OttlaError) -> None:
        """Give everything up: the producer closes."""
        for batch in self._sent:
            batch.maybe_appended = True
        left = self.batches()
        self._sent.clear()
        self._waiting.clear()
        self._returned.clear()
        self.open = None
        for batch in left:
            batch.record_count = batch.record_count or len(batch.entries)
            batch.complete(error)

    def _expired(self, batch: OutgoingBatch, *, is_sent: bool) -> None:
        if is_sent or batch.maybe_appended:
            batch.complete(OutcomeUnknown("no acknowledgement within the delivery time-out"))
            return
        text = "not delivered within the delivery time-out"
        if batch.failure is None:
            batch.complete(LeaderNotAvailable(f"{text}: no leader was reached"))
            return
        last = batch.failure
        batch.complete(restated(last, message=f"{text}: {last.message}"))

    def _settle(self) -> None:
        """Once nothing is on the wire, what came back goes first, in order."""
        if self._failed_at is None or self._sent:
            return
        self._returned.sort(key=lambda batch: batch.sequence)
        self._waiting.extendleft(reversed(self._returned))
        self._returned.clear()
        self._failed_at = None
        self._resumes = True
