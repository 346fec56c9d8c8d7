"""Troubles of replicas are told when they are news, and remembered for as long as they may last."""

from __future__ import annotations

from structlog.testing import capture_logs

from ottla.protocol.errors import CorruptLog, OttlaError, StorageOffline
from ottla.protocol.ids import Partition, TopicId
from ottla_broker.metadata.replica_troubles import ReplicaTroubles

TOPIC_ID = TopicId(bytes(16))
KEY = (TOPIC_ID, Partition(3))
OPEN = "replica.open_failed"


def told(troubles: ReplicaTroubles, *errors: OttlaError, event: str = OPEN) -> list[str]:
    """Reasons that reach the log when an event fails with these errors."""
    with capture_logs() as lines:
        for error in errors:
            troubles.failed(event, KEY, error)
    assert all(each["log_level"] == "error" and each["event"] == event for each in lines)
    return [each["reason"] for each in lines]


def test_a_failure_is_told_once_for_as_long_as_its_reason_is_the_same() -> None:
    troubles = ReplicaTroubles()
    errors = [StorageOffline("4 left"), StorageOffline("3 left"), CorruptLog("torn")]
    assert told(troubles, *errors, CorruptLog("torn")) == ["STORAGE_OFFLINE", "CORRUPT_LOG"]


def test_events_of_one_replica_do_not_hide_each_other() -> None:
    troubles = ReplicaTroubles()
    for _ in range(2):
        first = told(troubles, StorageOffline("no disk"))
        other = told(troubles, CorruptLog("torn"), event="replica.lead_failed")
    assert first == other == []


def test_a_failure_after_one_that_was_over_is_news() -> None:
    troubles = ReplicaTroubles()
    assert told(troubles, CorruptLog("torn")) == ["CORRUPT_LOG"]
    troubles.over("replica.lead_failed", KEY)
    assert told(troubles, CorruptLog("torn")) == []
    troubles.over(OPEN, KEY)
    assert told(troubles, CorruptLog("torn")) == ["CORRUPT_LOG"]


def test_what_was_told_of_topics_that_are_no_more_is_forgotten() -> None:
    troubles = ReplicaTroubles()
    assert told(troubles, CorruptLog("torn")) == ["CORRUPT_LOG"]
    troubles.keep_only(lambda topic_id: topic_id == TOPIC_ID)
    assert told(troubles, CorruptLog("torn")) == []
    troubles.keep_only(lambda _: False)
    assert told(troubles, CorruptLog("torn")) == ["CORRUPT_LOG"]


def test_a_kept_replica_is_told_of_once() -> None:
    troubles = ReplicaTroubles()
    with capture_logs() as lines:
        troubles.kept_unknown(KEY)
        troubles.kept_unknown(KEY)
    assert [(each["event"], each["log_level"], each["partition"]) for each in lines] == [
        ("replica.kept_unknown", "warning", 3)
    ]
