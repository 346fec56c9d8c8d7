"""Documents that check themselves, and what is kept in them."""

from __future__ import annotations

import pytest

from ottla.protocol.errors import InvalidTopic, UnsupportedVersion
from ottla.protocol.ids import TopicId
from ottla_broker.core.documents import DamagedDocumentError, decode_document, encode_document
from ottla_broker.core.replica_name import ReplicaName, decode_replica_name, encode_replica_name

TOPIC_ID = TopicId(bytes(range(16)))


def test_body_comes_back() -> None:
    body = {"a": 1, "b": [None, "x"]}
    assert decode_document("thing", encode_document("thing", body)) == body


def test_changed_body_is_found() -> None:
    data = encode_document("thing", {"offset": 1_234})
    with pytest.raises(DamagedDocumentError, match="wrong checksum"):
        decode_document("thing", data.replace(b"1234", b"1235"))


def test_torn_document_is_found_at_every_byte() -> None:
    data = encode_document("thing", {"offset": 1_234})
    for size in range(len(data) - 1):
        with pytest.raises(DamagedDocumentError):
            decode_document("thing", data[:size])


@pytest.mark.parametrize("data", [b"", b"[]", b"null", b'"x"', b"\xff\xfe", b"{}", b"\0" * 64])
def test_something_else_is_refused(data: bytes) -> None:
    with pytest.raises(DamagedDocumentError):
        decode_document("thing", data)


def test_document_of_another_kind_is_refused() -> None:
    with pytest.raises(DamagedDocumentError, match="kind thing"):
        decode_document("thing", encode_document("other", {}))


def test_newer_format_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnsupportedVersion, match="start a release at least as new"):
        decode_document("thing", encode_document("thing", {}, version=2))


def test_replica_name_comes_back() -> None:
    name = ReplicaName(TOPIC_ID, "orders.eu", 7)
    assert decode_replica_name(encode_replica_name(name)) == name
    assert name.directory_name == "orders.eu-7"
    assert name.details == {"topic": "orders.eu", "partition": 7}


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"topic_id": "00", "topic": "t", "partition": 0},
        {"topic_id": "zz" * 16, "topic": "t", "partition": 0},
        {"topic_id": "00" * 16, "topic": "a/b", "partition": 0},
        {"topic_id": "00" * 16, "topic": "t", "partition": -1},
        {"topic_id": 5, "topic": "t", "partition": 0},
    ],
)
def test_name_that_no_replica_has_is_refused(body: dict[str, object]) -> None:
    with pytest.raises(DamagedDocumentError):
        decode_replica_name(encode_document("partition", body))


def test_topic_too_long_for_a_directory_is_refused() -> None:
    with pytest.raises(InvalidTopic, match="longer than a directory"):
        _ = ReplicaName(TOPIC_ID, "t" * 249, 100_000).directory_name
