"""What offset queries ask for, and those that ask for nothing."""

from __future__ import annotations

import pytest

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.errors import InvalidRequest
from ottla_broker.rpc.offset_queries import place_of
from ottla_broker.rpc.read_plan import AtPosition, AtTime, BeforeEnd

Query = fetch_pb2.OffsetQuery


def test_a_query_names_its_place() -> None:
    earliest = fetch_pb2.OFFSET_POSITION_EARLIEST
    assert place_of(Query(position=earliest)) == AtPosition(earliest)
    assert place_of(Query(timestamp_ms=0)) == AtTime(0)
    assert place_of(Query(last_count=0)) == BeforeEnd(0)


@pytest.mark.parametrize(
    "query", [Query(topic="flights"), Query(position=fetch_pb2.OFFSET_POSITION_UNSPECIFIED)]
)
def test_a_query_that_names_no_place_is_refused(query: Query) -> None:
    with pytest.raises(InvalidRequest):
        place_of(query)
