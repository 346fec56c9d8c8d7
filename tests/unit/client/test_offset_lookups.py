"""Where offsets are asked for: places that cannot be are refused before a broker is asked."""

from __future__ import annotations

import pytest

from ottla.client.core.positions import TopicPartition
from ottla.client.offset_lookups import query
from ottla.protocol.errors import InvalidRequest, UnknownTopicOrPartition


@pytest.mark.parametrize("partition", [-1, 2**32])
def test_a_partition_that_no_topic_can_have_is_unknown(partition: int) -> None:
    with pytest.raises(UnknownTopicOrPartition, match=f"no topic has a partition {partition}$"):
        query(TopicPartition("flights", partition), timestamp_ms=0)


@pytest.mark.parametrize("time_ms", [2**63, -(2**63)])
def test_a_time_that_no_record_can_have_is_refused(time_ms: int) -> None:
    with pytest.raises(InvalidRequest, match="out of range"):
        query(TopicPartition("flights", 0), timestamp_ms=time_ms)


def test_the_last_partition_and_the_ends_of_time_can_be_asked_for() -> None:
    for time_ms in (2**63 - 1, -(2**63) + 1):
        asked = query(TopicPartition("flights", 2**32 - 1), timestamp_ms=time_ms)
        assert (asked.partition, asked.timestamp_ms) == (2**32 - 1, time_ms)
