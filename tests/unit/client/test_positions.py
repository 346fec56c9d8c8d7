"""Where a consumer goes on, after whatever ends its subscription."""

from __future__ import annotations

import pytest

from ottla.client.core.positions import (
    UNKNOWN_COUNT_MAX,
    UNKNOWN_MS_MAX,
    PartitionPosition,
    ResetPolicy,
    reset_policy,
    start_at_offset,
    start_at_time,
    start_before_end,
    start_earliest,
    start_latest,
)
from ottla.client.core.retries import Backoff
from ottla.protocol.errors import (
    InvalidConfig,
    InvalidRequest,
    LogTruncated,
    NotAuthorized,
    NotLeader,
    OffsetOutOfRange,
    OttlaError,
    Throttled,
    UnknownTopicOrPartition,
)


def position(next_offset: int | None = None, last_epoch: int | None = None) -> PartitionPosition:
    return PartitionPosition(
        "t", 0, start_latest(), next_offset, last_epoch, subscription_id=5, node_id=1
    )


def ended(
    at: PartitionPosition,
    error: OttlaError,
    *,
    policy: ResetPolicy = ResetPolicy.EARLIEST,
    chance: float | None = 0.5,
) -> OttlaError | None:
    return at.ended(error, policy=policy, now_ms=1_000, chance=chance, backoff=Backoff())


def test_a_subscription_begins_at_the_position_with_the_epoch_read_last() -> None:
    at = position(next_offset=12, last_epoch=3)
    request = at.subscribe_message(9, b"i" * 16)
    assert (request.subscription_id, request.topic_id) == (9, b"i" * 16)
    assert (request.start.offset, request.last_read_leader_epoch) == (12, 3)


def test_without_a_position_the_leader_says_where_it_begins() -> None:
    at = position()
    assert at.subscribe_message(9, b"").start == start_latest()
    at.subscribed_at(77)
    at.subscribed_at(99)  # once there is one, only consuming moves it
    assert at.subscribe_message(10, b"").start.offset == 77


def test_an_offset_out_of_range_is_reset_by_the_policy() -> None:
    at = position(next_offset=12, last_epoch=3)
    assert ended(at, OffsetOutOfRange("gone")) is None
    assert (at.next_offset, at.last_epoch, at.start) == (None, None, start_earliest())
    at = position(next_offset=12)
    error = OffsetOutOfRange("gone")
    assert ended(at, error, policy=ResetPolicy.ERROR) is error
    assert at.failure is error


def test_a_truncated_log_is_resumed_where_it_parts() -> None:
    at = position(next_offset=12, last_epoch=3)
    assert ended(at, LogTruncated("cut", metadata={"divergence_offset": 8})) is None
    assert (at.next_offset, at.last_epoch, at.subscription_id) == (8, None, None)
    broken = LogTruncated("cut", metadata={"divergence_offset": "-3"})
    assert ended(at, broken) is broken


def test_other_failures_are_retried_after_a_wait_unless_they_are_final() -> None:
    at = position(next_offset=12)
    assert ended(at, Throttled("slow", retry_after_ms=700)) is None
    assert (at.retry_at_ms, at.next_offset) == (1_700, 12)
    at = position(next_offset=12)
    assert ended(at, NotLeader("moved"), chance=None) is None
    assert at.retry_at_ms == 0
    final = NotAuthorized("no")
    assert ended(at, final) is final


def test_a_topic_that_stays_unknown_is_told_in_the_end() -> None:
    at = position()
    gone = UnknownTopicOrPartition("no such topic")
    results = [ended(at, gone) for _ in range(UNKNOWN_COUNT_MAX)]
    assert results == [None] * (UNKNOWN_COUNT_MAX - 1) + [gone]
    at.begin_at(start_at_offset(4))
    assert (at.failure, at.retry_at_ms, at.next_offset) == (None, 0, 4)


def test_a_topic_that_brokers_say_is_gone_for_long_is_told_once() -> None:
    at = position(next_offset=12)
    assert at.lost_topic(1_000) is None
    assert at.found_topic(b"new", policy=ResetPolicy.EARLIEST) is None  # it was there after all
    assert at.lost_topic(5_000) is None
    assert at.lost_topic(5_000 + UNKNOWN_MS_MAX - 1) is None
    gone = at.lost_topic(5_000 + UNKNOWN_MS_MAX)
    assert isinstance(gone, UnknownTopicOrPartition)
    assert (gone.topic, gone.partition, at.failure) == ("t", 0, gone)


def test_a_position_says_nothing_about_another_topic_of_the_same_name() -> None:
    at = position(next_offset=12, last_epoch=3)
    assert at.found_topic(b"old", policy=ResetPolicy.EARLIEST) is None
    assert (at.next_offset, at.last_epoch) == (12, 3)  # the first found is the one meant
    assert at.found_topic(b"new", policy=ResetPolicy.EARLIEST) is None
    assert (at.next_offset, at.last_epoch, at.start) == (None, None, start_earliest())
    at.subscribed_at(4)
    assert at.found_topic(b"new", policy=ResetPolicy.EARLIEST) is None
    assert at.next_offset == 4
    told = at.found_topic(b"newer", policy=ResetPolicy.ERROR)
    assert isinstance(told, OffsetOutOfRange)
    assert "deleted and created again" in told.message
    at.begin_at(start_at_offset(2))  # a seek is meant for the topic there is by then
    assert at.found_topic(b"newest", policy=ResetPolicy.ERROR) is None
    assert (at.next_offset, at.failure) == (2, None)


def test_places_out_of_bounds_are_refused() -> None:
    for make in (start_at_offset, start_before_end):
        for value in (-1, 2**63):
            with pytest.raises(InvalidRequest):
                make(value)
    with pytest.raises(InvalidRequest):
        start_at_time(2**63)
    with pytest.raises(InvalidConfig, match="earliest, latest, error"):
        reset_policy("newest")
