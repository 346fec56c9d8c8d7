"""What GetMetadata shows, page by page."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.api.error.v1 import error_pb2
from ottla.api.metadata.v1 import metadata_pb2
from ottla.protocol.errors import InvalidRequest, InvalidTopic
from ottla_broker.metadata.client_view import PAGE_SIZE_MAX, ClientView
from ottla_broker.metadata.cluster_table import ClusterTable

from .cluster_messages import Change, broker, cluster, partition, topic, topic_id

Request = metadata_pb2.GetMetadataRequest
_MISSING = error_pb2.ERROR_REASON_UNKNOWN_TOPIC_OR_PARTITION


def view_of(*changes: Change, listener: str = "public") -> ClientView:
    table = ClusterTable()
    table.apply(changes)
    return ClientView(table, listener=listener)


def pages(view: ClientView, **fields: Any) -> list[metadata_pb2.GetMetadataResponse]:
    found = [view.page(Request(**fields))]
    while found[-1].next_page_token:
        token = found[-1].next_page_token
        found.append(view.page(Request(page_token=token, **fields)))
    return found


def test_brokers_are_shown_at_the_clients_listener() -> None:
    both = broker(1, port=1111)
    both.broker.endpoints.add(listener="internal", host="inside", port=2222)
    changes = (both, broker(2, listener="internal"), broker(3, fenced=True))
    shown = view_of(*changes).page(Request()).brokers
    assert [(each.node_id, each.endpoint.port) for each in shown] == [(1, 1111), (2, 0)]
    assert not shown[1].HasField("endpoint")
    inside = view_of(*changes, listener="internal").page(Request()).brokers
    assert [each.endpoint.host for each in inside] == ["inside", "broker-2"]


def test_all_topics_come_by_name_with_their_leaders() -> None:
    view = view_of(cluster(), topic(2, "b"), topic(1, "a"), partition(1), partition(2, leader=None))
    page = view.page(Request())
    assert [each.name for each in page.topics] == ["a", "b"]
    assert page.topics[0].partitions[0].leader_id == 1
    assert not page.topics[1].partitions[0].HasField("leader_id")
    assert page.cluster_id == "cluster-a"


def test_topics_are_found_by_name_and_id_and_missing_ones_say_so() -> None:
    view = view_of(topic(1, "a"), topic(2, "b"), topic(3, "c"))
    page = view.page(Request(topics=["c", "nope"], topic_ids=[topic_id(1), topic_id(9)]))
    assert [(each.name, each.error.reason) for each in page.topics] == [
        ("", _MISSING),
        ("a", 0),
        ("c", 0),
        ("nope", _MISSING),
    ]
    assert page.topics[0].topic_id == topic_id(9)


def test_no_topics_leaves_them_out() -> None:
    page = view_of(topic(1, "a"), broker(1)).page(Request(no_topics=True))
    assert (len(page.topics), len(page.brokers)) == (0, 1)


def test_a_topic_goes_on_on_the_next_page() -> None:
    view = view_of(
        topic(1, "a", partition_count=5), topic(2, "b"), partition(2),
        *(partition(1, number) for number in range(5)),
    )  # fmt: skip
    shown = [
        (each.name, [part.partition for part in each.partitions])
        for page in pages(view, page_size=2)
        for each in page.topics
    ]
    assert shown == [("a", [0, 1]), ("a", [2, 3]), ("a", [4]), ("b", [0])]


def test_twenty_thousand_partitions_fit_into_pages_of_a_mebibyte() -> None:
    changes = [broker(1)]
    for number in range(2_000):
        changes.append(topic(number, f"{'t' * 240}{number:06}", partition_count=10))
        changes += [partition(number, each) for each in range(10)]
    found = pages(view_of(*changes))
    assert sum(len(each.partitions) for page in found for each in page.topics) == 20_000
    assert max(page.ByteSize() for page in found) <= PAGE_SIZE_MAX
    assert max(sum(len(each.partitions) for each in page.topics) for page in found) <= 10_000
    assert [len(page.brokers) for page in found] == [1] + [0] * (len(found) - 1)


def test_paging_goes_on_behind_a_topic_deleted_meanwhile() -> None:
    table = ClusterTable()
    table.apply([topic(1, "a"), partition(1), topic(2, "b"), partition(2)])
    table.apply([topic(3, "c"), partition(3)])
    view = ClientView(table, listener="public")
    first = view.page(Request(page_size=1))
    change = Change()
    change.topic_removed.topic_id = topic_id(2)
    table.apply([change])
    second = view.page(Request(page_size=1, page_token=first.next_page_token))
    assert [each.name for each in (*first.topics, *second.topics)] == ["a", "c"]


@pytest.mark.parametrize("token", ["x", ":", "-1:a", "12", "9999999999:a", "١:a"])
def test_a_token_nobody_gave_out_is_refused(token: str) -> None:
    with pytest.raises(InvalidRequest):
        view_of().page(Request(page_token=token))


def test_requests_out_of_bounds_are_refused() -> None:
    view = view_of()
    with pytest.raises(InvalidRequest):
        view.page(Request(page_size=10_001))
    with pytest.raises(InvalidRequest):
        view.page(Request(topics=[f"t{number}" for number in range(1_001)]))
    with pytest.raises(InvalidRequest):
        view.page(Request(topic_ids=[b"short"]))
    with pytest.raises(InvalidTopic):
        view.page(Request(topics=["x" * 250]))
