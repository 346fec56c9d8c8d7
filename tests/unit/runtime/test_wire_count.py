"""Elements of a request, counted in its bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla.api.admin.v1 import admin_pb2
from ottla.api.metadata.v1 import metadata_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla_runtime.interceptors.wire_count import ElementCounter

PUBLISH = ElementCounter(produce_pb2.PublishRequest.DESCRIPTOR)
CREATE = ElementCounter(admin_pb2.CreateTopicsRequest.DESCRIPTOR)
Record = record_pb2.PlainRecord


def exceeds(counter: ElementCounter, data: bytes, most: int, *, fields: int = 1_000_000) -> bool:
    return counter.exceeds(data, most, field_count_max=fields)


def publish(*records: Record) -> bytes:
    return produce_pb2.PublishRequest(topic="t", records=records).SerializeToString()


def test_records_are_counted_to_the_last_one() -> None:
    data = publish(*[Record()] * 1_000)
    assert exceeds(PUBLISH, data, 999)
    assert not exceeds(PUBLISH, data, 1_000)


def test_headers_inside_a_record_count_as_records_do() -> None:
    data = publish(Record(headers=[record_pb2.Header()] * 999))
    assert exceeds(PUBLISH, data, 999)
    assert not exceeds(PUBLISH, data, 1_000)


def test_settings_of_topics_count_and_so_do_names_in_a_list() -> None:
    configs = {str(number): "x" for number in range(999)}
    data = admin_pb2.CreateTopicsRequest(
        topics=[admin_pb2.NewTopic(configs=configs)]
    ).SerializeToString()
    assert exceeds(CREATE, data, 999)
    assert not exceeds(CREATE, data, 1_000)
    names = ElementCounter(metadata_pb2.GetMetadataRequest.DESCRIPTOR)
    data = metadata_pb2.GetMetadataRequest(topics=[""] * 1_000).SerializeToString()
    assert exceeds(names, data, 999)
    assert not exceeds(names, data, 1_000)


def test_bytes_that_look_like_tags_are_no_elements() -> None:
    data = publish(Record(value=b"\x7a\x7a" * 50_000))
    assert PUBLISH.at_most(data) > 10
    assert not exceeds(PUBLISH, data, 10)


@pytest.mark.parametrize(
    "element",
    [b"\xfa\x00\x00", b"\x7a\x80\x00", b"\xfa\x80\x80\x00\x80\x00"],
    ids=["long tag", "long length", "both"],
)
def test_varints_longer_than_they_need_be_hide_nothing(element: bytes) -> None:
    data = element * 1_000
    assert len(produce_pb2.PublishRequest.FromString(data).records) == 1_000
    assert PUBLISH.at_most(data) >= 1_000
    assert exceeds(PUBLISH, data, 999)


def test_what_stands_behind_a_group_is_counted() -> None:
    group = bytes([(30 << 3 | 3) & 0x7F | 0x80, 1, (30 << 3 | 4) & 0x7F | 0x80, 1])
    data = group + publish(*[Record()] * 1_000)
    assert len(produce_pb2.PublishRequest.FromString(data).records) == 1_000
    assert exceeds(PUBLISH, data, 999)


def test_what_stands_before_garbage_is_counted() -> None:
    assert exceeds(PUBLISH, publish(*[Record()] * 1_000) + b"\xff" * 20, 999)
    assert not exceeds(PUBLISH, b"\xff" * 5_000, 10)


def test_the_walk_itself_has_a_bound() -> None:
    data = b"\x18\x00" * 1_000 + publish(*[Record()] * 20)  # `partition`, again and again
    assert not exceeds(PUBLISH, data, 20)
    assert not exceeds(PUBLISH, data, 20, fields=999)  # nothing to doubt, nothing to walk
    data += publish(Record(value=b"\x7a" * 100))
    assert not exceeds(PUBLISH, data, 21)
    assert exceeds(PUBLISH, data, 21, fields=999)


records = st.builds(
    Record,
    key=st.binary(max_size=9),
    value=st.binary(max_size=300),
    headers=st.lists(st.builds(record_pb2.Header, key=st.text("zr*", max_size=5)), max_size=4),
)


@given(st.lists(records, max_size=20), st.integers(0, 60))
def test_the_count_is_exact_for_whatever_stubs_write(sent: list[Record], most: int) -> None:
    count = sum(1 + len(record.headers) for record in sent)
    data = publish(*sent)
    assert PUBLISH.at_most(data) >= count
    assert exceeds(PUBLISH, data, most) == (count > most)
