"""Where a consumer stands in each of its partitions, and where it begins.

Owns starts and resets, and what a partition's end of subscription means for its position. Pure.
Does not own the records fetched and not yet consumed: those are in `fetch_buffer`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from ottla.api.fetch.v1 import fetch_pb2
from ottla.client.core.retries import Backoff
from ottla.protocol.errors import (
    InvalidConfig,
    InvalidRequest,
    LogTruncated,
    OffsetOutOfRange,
    OttlaError,
    UnknownTopicOrPartition,
)

OFFSET_MAX = 2**63 - 1
TIME_MS_MAX = 2**63 - 1
UNKNOWN_COUNT_MAX = 10
"""So many times in a row a topic may be unknown before the application is told."""
UNKNOWN_MS_MAX = 5_000
"""So long brokers may say that there is no such topic, likewise."""


class TopicPartition(NamedTuple):
    """One partition of a topic."""

    topic: str
    partition: int


class ResetPolicy(StrEnum):
    """Where to go on when there is no position, or none that the partition holds."""

    EARLIEST = "earliest"
    LATEST = "latest"
    ERROR = "error"


def reset_policy(name: str) -> ResetPolicy:
    """The policy of a setting. Raises InvalidConfig."""
    try:
        return ResetPolicy(name)
    except ValueError:
        names = ", ".join(policy.value for policy in ResetPolicy)
        raise InvalidConfig(f"auto_offset_reset={name!r} must be one of {names}") from None


def start_at_offset(offset: int) -> fetch_pb2.ReadStart:
    """Begin at an offset. Raises InvalidRequest for one that cannot be."""
    if not 0 <= offset <= OFFSET_MAX:
        raise InvalidRequest(f"offset {offset} is not within 0 to {OFFSET_MAX}")
    return fetch_pb2.ReadStart(offset=offset)


def start_at_time(timestamp_ms: int) -> fetch_pb2.ReadStart:
    """Begin with the first record of a time or later. Raises InvalidRequest."""
    return fetch_pb2.ReadStart(timestamp_ms=checked_time(timestamp_ms))


def checked_time(timestamp_ms: int) -> int:
    """The time. Raises InvalidRequest for one that no record can have."""
    if not -TIME_MS_MAX <= timestamp_ms <= TIME_MS_MAX:
        raise InvalidRequest(f"time {timestamp_ms} ms is out of range")
    return timestamp_ms


def start_before_end(count: int) -> fetch_pb2.ReadStart:
    """Begin so many offsets before the end. Raises InvalidRequest."""
    if not 0 <= count <= OFFSET_MAX:
        raise InvalidRequest(f"count {count} is not within 0 to {OFFSET_MAX}")
    return fetch_pb2.ReadStart(last_count=count)


def start_earliest() -> fetch_pb2.ReadStart:
    """Begin with the first record there is."""
    return fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_EARLIEST)


def start_latest() -> fetch_pb2.ReadStart:
    """Begin with the next record that comes."""
    return fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_LATEST)


def start_by(policy: ResetPolicy) -> fetch_pb2.ReadStart | None:
    """Where the policy begins; None where it wants an error."""
    match policy:
        case ResetPolicy.EARLIEST:
            return start_earliest()
        case ResetPolicy.LATEST:
            return start_latest()
        case ResetPolicy.ERROR:
            return None


@dataclass(slots=True)
class PartitionPosition:
    """One assigned partition; belongs to its consumer."""

    topic: str
    partition: int
    start: fetch_pb2.ReadStart
    """Where the next subscription begins, as long as `next_offset` isn't known."""
    next_offset: int | None = None
    """Where the application goes on, behind what was decoded for it."""
    last_epoch: int | None = None
    """Leader epoch of what was decoded last."""
    is_paused: bool = False
    subscription_id: int | None = None
    """Of the subscription that is on, if any; never used twice by one consumer."""
    node_id: int | None = None
    retry_at_ms: int = 0
    failure: OttlaError | None = None
    """Final: the application has been told, and nothing more comes until it seeks."""
    high_watermark: int | None = None
    topic_id: bytes | None = None
    """Of the topic that the position is in; None while it was never subscribed."""
    _unknown_since_ms: int | None = None
    _failure_count: int = 0
    _unknown_count: int = 0

    @property
    def place(self) -> TopicPartition:
        """The partition."""
        return TopicPartition(self.topic, self.partition)

    @property
    def is_gone(self) -> bool:
        """Its topic is not there any more, and the application was told; there may be another."""
        return isinstance(self.failure, UnknownTopicOrPartition)

    def subscribe_message(self, subscription_id: int, topic_id: bytes) -> fetch_pb2.Subscribe:
        """The request that begins a subscription here."""
        request = fetch_pb2.Subscribe(
            subscription_id=subscription_id,
            topic=self.topic,
            topic_id=topic_id,
            partition=self.partition,
        )
        if self.next_offset is None:
            request.start.CopyFrom(self.start)
        else:
            request.start.offset = self.next_offset
            if self.last_epoch is not None:
                request.last_read_leader_epoch = self.last_epoch
        return request

    def begin_at(self, start: fetch_pb2.ReadStart) -> None:
        """Go somewhere else; what went wrong before no longer matters."""
        self.start = start
        self.next_offset = start.offset if start.HasField("offset") else None
        self.last_epoch = None
        self.topic_id = None
        self.failure = None
        self._unknown_since_ms = None
        self.retry_at_ms = 0
        self._failure_count = self._unknown_count = 0

    def found_topic(self, topic_id: bytes, *, policy: ResetPolicy) -> OttlaError | None:
        """The topic is known, by this id. A position in one of the same name before says nothing.

        Returns:
            The error, if the application has to know and decide.
        """
        before, self.topic_id = self.topic_id, topic_id
        self._unknown_since_ms = None
        if before in {None, topic_id} or self.next_offset is None:
            return None
        start = start_by(policy)
        if start is None:
            return self._give_up(
                OffsetOutOfRange(
                    f"topic {self.topic} was deleted and created again: offset {self.next_offset} "
                    "is of the one before",
                    metadata=self._names,
                )
            )
        self.begin_at(start)
        self.topic_id = topic_id
        return None

    def lost_topic(self, now_ms: int) -> OttlaError | None:
        """Brokers say that there is no such topic; the error, once they have for long."""
        if self._unknown_since_ms is None:
            self._unknown_since_ms = now_ms
        if now_ms - self._unknown_since_ms < UNKNOWN_MS_MAX:
            return None
        self._unknown_since_ms = None
        text = f"there is no topic {self.topic} any more"
        return self._give_up(UnknownTopicOrPartition(text, metadata=self._names))

    @property
    def _names(self) -> dict[str, object]:
        return {"topic": self.topic, "partition": self.partition}

    def subscribed_at(self, next_offset: int) -> None:
        """The leader said where the subscription begins."""
        if self.next_offset is None:
            self.next_offset = next_offset
        self._failure_count = self._unknown_count = 0

    def ended(
        self,
        error: OttlaError,
        *,
        policy: ResetPolicy,
        now_ms: int,
        chance: float | None,
        backoff: Backoff,
    ) -> OttlaError | None:
        """The subscription ended with an error: where and when to go on.

        Args:
            error: what the leader said.
            policy: what to do about an offset the partition doesn't hold.
            now_ms: monotonic time.
            chance: 0 to below 1; None: the right leader is known, don't wait.
            backoff: the waits.

        Returns:
            The error, if the application has to know and decide.
        """
        self.subscription_id = self.node_id = None
        if isinstance(error, OffsetOutOfRange):
            start = start_by(policy)
            if start is None:
                return self._give_up(error)
            self.begin_at(start)
            return None
        if isinstance(error, LogTruncated):
            return self._truncated(error)
        self._unknown_count += isinstance(error, UnknownTopicOrPartition)
        if not error.retriable or self._unknown_count >= UNKNOWN_COUNT_MAX:
            return self._give_up(error)
        self._failure_count += 1
        if chance is not None:
            wait_ms = backoff.wait_ms(
                self._failure_count, chance=chance, least_ms=error.retry_after_ms
            )
            self.retry_at_ms = now_ms + wait_ms
        return None

    def _truncated(self, error: LogTruncated) -> OttlaError | None:
        """Resume where the logs part: never behind it, where records would be skipped."""
        text = error.metadata.get("divergence_offset", "")
        if not (text.isascii() and text.isdecimal() and len(text) <= 19):
            return self._give_up(error)
        self.begin_at(start_at_offset(min(int(text), OFFSET_MAX)))
        return None

    def _give_up(self, error: OttlaError) -> OttlaError:
        self.failure = error
        return error
