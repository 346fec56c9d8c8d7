"""The bounds of a Publish request, and where its records go."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.errors import (
    InvalidRequest,
    InvalidTopic,
    OttlaError,
    RecordTooLarge,
    UnsupportedVersion,
)
from ottla.protocol.partitioner import partition_for_key
from ottla_broker.core.append_checks import Acks
from ottla_broker.metadata.cluster_table import ClusterTable, TopicEntry
from ottla_broker.rpc.publish_plan import PartitionChooser, check_request

from .cluster_messages import partition, topic

Record = record_pb2.PlainRecord
Header = record_pb2.Header
HALF = 1 << 19
TOO_LARGE = RecordTooLarge
Request = produce_pb2.PublishRequest


def entry(partition_count: int = 4, *, leaderless: tuple[int, ...] = ()) -> TopicEntry:
    table = ClusterTable()
    table.apply([topic(1, "a", partition_count=partition_count)])
    for number in range(partition_count):
        table.apply([partition(1, number, leader=None if number in leaderless else 1)])
    found = table.topic("a")
    assert found is not None
    return found


def request(*records: Record, **fields: Any) -> Request:
    return Request(topic="a", records=records or [Record(value=b"v")], **fields)


def test_terms_left_out_have_their_defaults() -> None:
    terms = check_request(request())
    assert (terms.acks, terms.timeout_ms) == (Acks.ALL, 30_000)
    terms = check_request(request(acks=produce_pb2.ACKS_NONE, timeout_ms=5))
    assert (terms.acks, terms.timeout_ms) == (Acks.NONE, 5)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (Request(topic="a"), InvalidRequest),
        (Request(topic="a", records=[Record()] * 30_001), InvalidRequest),
        (request(timeout_ms=600_001), InvalidRequest),
        (request(acks=9), UnsupportedVersion),
        (request(identity=produce_pb2.ProducerIdentity()), UnsupportedVersion),
        (Request(topic="__groups", records=[Record()]), InvalidTopic),
        (request(Record(value=b"x" * HALF), Record(key=b"y" * HALF + b"y")), RecordTooLarge),
        (request(Record(headers=[Header(key="k" * HALF, value=b"v" * HALF + b"v")])), TOO_LARGE),
    ],
)  # fmt: skip
def test_requests_out_of_bounds_are_refused(bad: Request, error: type[OttlaError]) -> None:
    with pytest.raises(error):
        check_request(bad)


def test_records_at_the_bounds_are_taken() -> None:
    check_request(request(*[Record()] * 30_000))
    check_request(request(Record(value=b"x" * (1 << 20))))


def test_a_partition_given_takes_all_records() -> None:
    (group,) = PartitionChooser().groups(request(Record(key=b"k"), Record(), partition=3), entry())
    assert (group.partition, list(group.places)) == (3, [0, 1])


def test_keys_go_by_their_hash_and_an_empty_key_is_a_key() -> None:
    keys = [b"", b"UA", b"AA", b"UA", b"\x00\xff"]
    groups = PartitionChooser().groups(request(*[Record(key=key) for key in keys]), entry())
    placed = {place: group.partition for group in groups for place in group.places}
    assert placed == {place: partition_for_key(key, 4) for place, key in enumerate(keys)}


def test_keyless_records_of_a_request_stay_together_and_requests_take_turns() -> None:
    chooser, topic_entry = PartitionChooser(), entry()
    seen = []
    for _ in range(5):
        (group,) = chooser.groups(request(Record(value=b"1"), Record(value=b"2")), topic_entry)
        assert list(group.places) == [0, 1]
        seen.append(group.partition)
    assert seen == [0, 1, 2, 3, 0]


def test_turns_pass_over_partitions_without_a_leader() -> None:
    chooser, topic_entry = PartitionChooser(), entry(3, leaderless=(1,))
    seen = [chooser.groups(request(), topic_entry)[0].partition for _ in range(4)]
    assert seen == [0, 2, 0, 2]
    nobody = entry(2, leaderless=(0, 1))
    assert chooser.groups(request(), nobody)[0].partition in {0, 1}
