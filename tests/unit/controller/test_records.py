"""Keys and records belong together, and steps become as few transactions as fit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.protocol.errors import CorruptLog
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ClusterRecord,
    ConfigRecord,
    ControllerRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core.record_keys import Record, key_of, parse_record
from ottla_controller.core.result import (
    STEP_CHANGES_MAX,
    TRANSACTION_BYTES_MAX,
    Put,
    Remove,
    transactions,
)

ID = bytes(range(16))
RECORDS: list[tuple[Record, bytes]] = [
    (ClusterRecord(cluster_id="c"), b"records/cluster"),
    (BrokerRecord(node_id=7), b"records/broker/0000000007"),
    (BrokerRecord(node_id=2**32 - 1), b"records/broker/4294967295"),
    (TopicRecord(topic_id=ID), b"records/topic/000102030405060708090a0b0c0d0e0f"),
    (
        PartitionRecord(topic_id=ID, partition=42),
        b"records/partition/000102030405060708090a0b0c0d0e0f/00042",
    ),
    (ConfigRecord(), b"records/config/cluster"),
    (ConfigRecord(node_id=0), b"records/config/broker/0000000000"),
    (ControllerRecord(node_id=1), b"records/controller/0000000001"),
]


@pytest.mark.parametrize(("record", "key"), RECORDS)
def test_a_record_lies_under_its_key_and_is_read_back(record: Record, key: bytes) -> None:
    assert key_of(record) == key
    assert parse_record(key, record.SerializeToString()) == record


def test_kinds_of_a_newer_release_are_left_alone() -> None:
    assert parse_record(b"records/quota/1", b"anything") is None
    assert parse_record(b"election/1", b"anything") is None


def test_a_value_that_is_no_such_record_is_told_as_damage() -> None:
    with pytest.raises(CorruptLog, match="cannot be decoded"):
        parse_record(b"records/cluster", b"\xff\xff")
    with pytest.raises(CorruptLog, match="belongs to"):
        parse_record(b"records/broker/0000000001", BrokerRecord(node_id=2).SerializeToString())


@given(st.lists(st.integers(1, 5), max_size=400))
def test_steps_stay_whole_and_in_order(sizes: list[int]) -> None:
    names = iter(range(10_000))
    steps = [tuple(Remove(b"%d" % next(names)) for _ in range(size)) for size in sizes]
    batches = list(transactions(steps))
    assert [change for batch in batches for change in batch] == [
        change for step in steps for change in step
    ]
    assert all(len(batch) <= STEP_CHANGES_MAX for batch in batches)
    whole = {change.key: batch for batch, changes in enumerate(batches) for change in changes}
    assert all(len({whole[change.key] for change in step}) == 1 for step in steps)
    assert all(len(batch) > STEP_CHANGES_MAX - 5 for batch in batches[:-1])


def test_large_records_fill_a_transaction_before_there_are_many() -> None:
    record = TopicRecord(topic_id=ID, configs={"k": "v" * 600_000})
    other = TopicRecord(topic_id=ID[::-1], configs={"k": "v" * 600_000})
    third = TopicRecord(topic_id=ID[8:] + ID[:8], configs={"k": "v" * 600_000})
    batches = list(transactions([(Put(each),) for each in (record, other, third)]))
    assert [len(batch) for batch in batches] == [2, 1]
    assert TRANSACTION_BYTES_MAX < 600_000 * 3


def test_a_key_comes_once_in_a_transaction() -> None:
    steps = [(Remove(b"a"),), (Remove(b"b"),), (Remove(b"a"),)]
    assert [len(batch) for batch in transactions(steps)] == [2, 1]
