"""Batches made of published records, and the answer about them."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import verify_crc
from ottla.protocol.compression import Codec
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import InvalidRequest, RecordTooLarge
from ottla.protocol.plain_records import plain_records
from ottla_broker.core.log_config import CompressionType, LogConfig
from ottla_broker.rpc.publish_batches import build_batches, is_small
from ottla_broker.rpc.publish_plan import PartitionGroup
from ottla_broker.rpc.publish_results import Answered, Appended, Failed, response_of

Record = record_pb2.PlainRecord
NOW_MS = 1_700_000_000_000
CONFIG = LogConfig()

optional_bytes = st.none() | st.binary(max_size=40)
headers = st.lists(
    st.builds(record_pb2.Header, key=st.text(max_size=8), value=optional_bytes), max_size=3
)
records = st.lists(
    st.builds(
        Record,
        key=optional_bytes,
        value=optional_bytes,
        timestamp_ms=st.integers(-5, 2**40),
        headers=headers,
    ),
    min_size=1,
    max_size=60,
)


@given(records, st.sampled_from(CompressionType), st.integers(1_024, 4_096))
def test_batches_hold_the_records_in_order_and_keep_to_the_topics_limit(
    given_records: list[Record], compression: CompressionType, limit: int
) -> None:
    config = dataclasses.replace(CONFIG, compression_type=compression, max_message_bytes=limit)
    batches = build_batches(given_records, config=config, now_ms=NOW_MS)
    back = []
    for batch in batches:
        verify_crc(batch)
        assert batch.frame_size <= limit
        back += list(plain_records(batch, size_max=1 << 20))
    expected = []
    for record in given_records:
        copy = Record()
        copy.CopyFrom(record)
        if copy.timestamp_ms <= 0:
            copy.timestamp_ms = NOW_MS
        expected.append(copy)
    for record in back:
        record.offset = 0
    assert back == expected


def test_the_topics_codec_is_used_and_none_where_it_leaves_the_choice() -> None:
    zstd = dataclasses.replace(CONFIG, compression_type=CompressionType.ZSTD)
    one = [Record(value=b"v" * 1000)]
    assert build_batches(one, config=zstd, now_ms=NOW_MS)[0].header.codec is Codec.ZSTD
    assert build_batches(one, config=CONFIG, now_ms=NOW_MS)[0].header.codec is Codec.NONE


def test_a_record_larger_than_the_topics_limit_is_refused() -> None:
    small = dataclasses.replace(CONFIG, max_message_bytes=1_024)
    with pytest.raises(RecordTooLarge):
        build_batches([Record(value=b"1"), Record(value=b"x" * 1_024)], config=small, now_ms=NOW_MS)


def test_a_time_that_no_batch_can_hold_is_refused() -> None:
    with pytest.raises(InvalidRequest):
        build_batches([Record(timestamp_ms=2**63 - 1)], config=CONFIG, now_ms=NOW_MS)


def test_large_work_is_not_small() -> None:
    zstd = dataclasses.replace(CONFIG, compression_type=CompressionType.ZSTD)
    assert is_small([Record(value=b"x" * 1_000_000)], CONFIG)
    assert not is_small([Record(value=b"x" * 1_000_000)], zstd)
    assert not is_small([Record()] * 1_000, CONFIG)


def test_every_record_gets_its_own_result_in_the_order_of_the_request() -> None:
    request = produce_pb2.PublishRequest(
        records=[Record(timestamp_ms=7), Record(), Record(), Record(), Record()]
    )
    error = to_proto(InvalidRequest("no"))
    elsewhere = produce_pb2.PublishResult(partition=2, offset=99)
    response = response_of(
        request,
        [
            (PartitionGroup(0, [1, 0]), Appended(40, 0, NOW_MS)),
            (PartitionGroup(1, [3]), Failed(error)),
            (PartitionGroup(2, [2]), Answered([elsewhere])),
            (PartitionGroup(3, [4]), Appended(None, 555, NOW_MS)),
        ],
        topic_id=b"t" * 16,
    )
    shown = [(each.partition, each.offset, each.timestamp_ms) for each in response.results]
    assert shown == [(0, 41, 7), (0, 40, NOW_MS), (2, 99, 0), (1, 0, 0), (3, 0, 555)]
    assert response.results[3].error.reason == error.reason
    assert not response.results[4].HasField("offset")
