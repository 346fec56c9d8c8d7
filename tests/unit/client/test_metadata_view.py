"""Which statement about the cluster a client believes."""

from __future__ import annotations

from ottla.api.cluster.v1 import cluster_pb2
from ottla.api.metadata.v1 import metadata_pb2
from ottla.client.core.addresses import Address
from ottla.client.core.metadata_view import MetadataView
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import InvalidTopic, NotLeader

ID = b"1" * 16


def broker(node_id: int, port: int = 9092) -> metadata_pb2.BrokerInfo:
    endpoint = cluster_pb2.Endpoint(host=f"b{node_id}", port=port)
    return metadata_pb2.BrokerInfo(node_id=node_id, endpoint=endpoint)


def topic(
    *leaders: tuple[int | None, int], topic_id: bytes = ID, first: int = 0
) -> metadata_pb2.TopicInfo:
    partitions = [
        metadata_pb2.PartitionInfo(partition=first + number, leader_id=node_id, leader_epoch=epoch)
        for number, (node_id, epoch) in enumerate(leaders)
    ]
    return metadata_pb2.TopicInfo(
        name="t", topic_id=topic_id, partitions=partitions, partition_count=3
    )


def leader(view: MetadataView, partition: int = 0) -> tuple[int | None, int] | None:
    found = view.leader("t", partition)
    return None if found is None else (found.node_id, found.epoch)


def hint(**details: object) -> NotLeader:
    known = {"topic": "t", "partition": 0, "leader_id": 2, "leader_epoch": 6}
    return NotLeader("moved", metadata=known | details)


def test_pages_of_a_topic_add_up() -> None:
    view = MetadataView()
    view.take_topics([topic((1, 5))])
    view.take_topics([topic((2, 6), (None, 7), first=1)])
    assert [leader(view, number) for number in range(3)] == [(1, 5), (2, 6), (None, 7)]


def test_older_epochs_are_not_believed() -> None:
    view = MetadataView()
    view.take_topics([topic((1, 5))])
    view.take_topics([topic((2, 4))])
    assert leader(view) == (1, 5)
    view.take_topics([topic((None, 5))])
    assert leader(view) == (None, 5)


def test_a_topic_created_again_forgets_what_the_old_one_was() -> None:
    view = MetadataView()
    view.take_topics([topic((1, 500), (1, 500))])
    view.take_topics([topic((2, 1), topic_id=b"2" * 16)])
    assert (leader(view), leader(view, 1)) == ((2, 1), None)
    view.take_topics([], removed=[ID])
    assert view.topic("t") is not None
    view.take_topics([], removed=[b"2" * 16])
    assert view.topic("t") is None


def test_a_hint_is_news_once_and_only_if_it_is_newer() -> None:
    view = MetadataView()
    view.take_topics([topic((1, 5))])
    assert not view.take_hint(hint())  # nobody knows where broker 2 is
    assert view.take_hint(hint(leader_host="b2", leader_port=9999))
    assert (leader(view), view.broker(2)) == ((2, 6), Address("b2", 9999))
    assert not view.take_hint(hint(leader_host="b2", leader_port=9999))
    assert not view.take_hint(hint(leader_id=1, leader_epoch=5))


def test_unsound_hints_are_left_alone() -> None:
    view = MetadataView()
    view.take_brokers([broker(2)])
    view.take_topics([topic((1, 5))])
    for details in (
        {"leader_id": "x"}, {"leader_id": "-2"}, {"leader_epoch": "9" * 30}, {"topic": "u"},
        {"partition": "none"},
    ):  # fmt: skip
        assert not view.take_hint(hint(**details))
    assert leader(view) == (1, 5)
    assert view.take_hint(hint(leader_host="b2", leader_port=99_999))
    assert view.broker(2) == Address("b2", 9092)


def test_errors_of_topics_and_brokers_that_left_are_kept_apart() -> None:
    view = MetadataView()
    view.take_brokers([broker(1), broker(2)])
    view.take_brokers([broker(2, port=1), metadata_pb2.BrokerInfo(node_id=3)], removed=[1])
    assert (view.broker(1), view.broker(2), view.broker(3)) == (None, Address("b2", 1), None)
    refused = metadata_pb2.TopicInfo(name="t", error=to_proto(InvalidTopic("no")))
    view.take_topics([refused])
    assert isinstance(view.error("t"), InvalidTopic)
    view.take_topics([topic((1, 1))])
    assert view.error("t") is None
    view.forget_topics(["t"])
    assert view.topic("t") is None
