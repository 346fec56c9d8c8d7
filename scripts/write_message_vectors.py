"""Writes `tests/vectors/messages.json`: a message of every kind of the streams and of metadata.

`docs/protocols/client-guide.md` explains them, `tests/unit/protocol` holds them to the code. They
show what a client must understand, not the only bytes that may be sent: fields may come in another
order. Run by hand alone, when a contract grew: `.venv/bin/python scripts/write_message_vectors.py`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from google.protobuf.json_format import MessageToDict
from google.protobuf.message import Message
from write_client_vectors import VECTORS, examples

from ottla.api.cluster.v1 import cluster_pb2
from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.metadata.v1 import metadata_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.client.produce_messages import RequestHead, produce_request
from ottla.protocol.batch import stamp
from ottla.protocol.error_details import to_proto
from ottla.protocol.records import encode_record_batch

TOPIC_ID = bytes(range(16))


def frame() -> bytearray:
    """A batch of two records as its producer sends it."""
    records = [(b"UA", b"EWR-IAH", 1_357_034_220_000, [("source", b"tower")])]
    return encode_record_batch([*records, (None, b"", 1_357_034_220_007, [])])


def stamped() -> bytes:
    """The same batch as it is stored at offset 40."""
    made = frame()
    stamp(made, base_offset=40, leader_epoch=7, append_time_ms=0)
    return bytes(made)


def metadata_messages() -> Iterator[tuple[str, Message]]:
    """How a client learns where everything is."""
    version = cluster_pb2.MetadataVersion(generation=1, revision=57)
    endpoint = cluster_pb2.Endpoint(
        listener="public", host="10.0.0.1", port=9092, security=cluster_pb2.SECURITY_PLAINTEXT
    )
    broker = metadata_pb2.BrokerInfo(node_id=1, endpoint=endpoint, rack="a")
    leaders = [
        metadata_pb2.PartitionInfo(partition=0, leader_id=1, leader_epoch=7),
        metadata_pb2.PartitionInfo(partition=1, leader_epoch=3),
    ]
    topic = metadata_pb2.TopicInfo(
        name="flights", topic_id=TOPIC_ID, partitions=leaders, partition_count=2
    )
    yield "asking for a topic", metadata_pb2.GetMetadataRequest(topics=["flights"])
    yield (
        "a broker, a led and a leaderless partition",
        metadata_pb2.GetMetadataResponse(
            cluster_id="c1", version=version, brokers=[broker], topics=[topic], feature_level=1
        ),
    )
    Watch = metadata_pb2.WatchMetadataResponse  # noqa: N806 - a class under a short name
    yield (
        "a snapshot in one message",
        Watch(
            version=version,
            snapshot_begin=True,
            snapshot_complete=True,
            brokers=[broker],
            topics=[topic],
        ),
    )
    changed = metadata_pb2.TopicInfo(
        name="flights", topic_id=TOPIC_ID, partitions=[leaders[1]], partition_count=2
    )
    changed.partitions[0].leader_id, changed.partitions[0].leader_epoch = 1, 4
    later = cluster_pb2.MetadataVersion(generation=1, revision=58)
    yield "one partition changed", Watch(version=later, topics=[changed])
    yield (
        "brokers and topics gone",
        Watch(version=later, removed_broker_ids=[2], removed_topic_ids=[TOPIC_ID]),
    )
    yield "watch heartbeat", Watch(version=later, heartbeat=True)


def produce_messages() -> Iterator[tuple[str, Message]]:
    """What goes over a Produce stream."""
    head = RequestHead(
        correlation_id=1,
        topic="flights",
        topic_id=TOPIC_ID,
        partition=0,
        leader_epoch=7,
        acks=produce_pb2.ACKS_ALL,
        timeout_ms=30_000,
        resumes=False,
    )
    request = produce_pb2.ProduceRequest.FromString(produce_request(frame(), head))
    yield "one batch", request
    resuming = produce_pb2.ProduceRequest()
    resuming.CopyFrom(request)
    resuming.correlation_id, resuming.resume_partition = 4, True
    yield "sent again after a failure", resuming
    yield "produce heartbeat", produce_pb2.ProduceRequest(heartbeat=True)
    Response = produce_pb2.ProduceResponse  # noqa: N806 - a class under a short name
    yield "appended at the first offset", Response(correlation_id=1, base_offset=0)
    yield "taken with ACKS_NONE", Response(correlation_id=2, log_start_offset=10)
    refused = Response(correlation_id=3)
    refused.error.CopyFrom(to_proto(examples()["the leader is elsewhere"]))
    yield "refused", refused
    yield "produce heartbeat of the broker", Response(heartbeat=True)


def fetch_requests() -> Iterator[tuple[str, Message]]:
    """What a client says in a fetch session."""
    Request = fetch_pb2.FetchRequest  # noqa: N806 - a class under a short name
    opening = fetch_pb2.OpenSession(
        isolation=fetch_pb2.ISOLATION_READ_COMMITTED, message_size_max_bytes=1 << 20
    )
    yield "open", Request(open=opening)
    yield "credit", Request(credit=fetch_pb2.GrantCredit(size_bytes=16 << 20))
    subscribe = fetch_pb2.Subscribe(
        subscription_id=1,
        topic="flights",
        topic_id=TOPIC_ID,
        start=fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_EARLIEST),
    )
    yield "subscribe from the first record on", Request(subscribe=subscribe)
    subscribe.start.offset, subscribe.last_read_leader_epoch = 40, 7
    yield "subscribe where reading ended", Request(subscribe=subscribe)
    start = fetch_pb2.ReadStart(offset=0)
    yield (
        "seek to offset 0",
        Request(seek=fetch_pb2.Seek(subscription_id=1, new_subscription_id=2, start=start)),
    )
    yield "pause", Request(set_paused=fetch_pb2.SetPaused(subscription_ids=[2], paused=True))
    yield "unsubscribe", Request(unsubscribe=fetch_pb2.Unsubscribe(subscription_ids=[2]))
    yield "fetch heartbeat", Request(heartbeat=fetch_pb2.Heartbeat())


def fetch_responses() -> Iterator[tuple[str, Message]]:
    """What a broker says in a fetch session."""
    Response = fetch_pb2.FetchResponse  # noqa: N806 - a class under a short name
    begun = Response(subscription_id=1, high_watermark=42, last_stable_offset=42, next_offset=40)
    begun.subscribed.next_offset = 40
    yield "subscribed", begun
    filled = Response.FromString(stamped())
    filled.subscription_id, filled.next_offset = 1, 42
    filled.high_watermark = filled.last_stable_offset = 42
    yield "batches", filled
    ended = Response(subscription_id=1)
    ended.ended.error.CopyFrom(to_proto(examples()["the log was cut"]))
    yield "ended with an error", ended
    left = Response(subscription_id=1)
    left.ended.SetInParent()
    yield "ended as asked", left
    yield "fetch heartbeat of the broker", Response(heartbeat=fetch_pb2.Heartbeat())


def wire(message: Message) -> bytes:
    """A message's bytes; batches that come from a file stand behind everything else."""
    if isinstance(message, fetch_pb2.FetchResponse) and message.batches:
        small = fetch_pb2.FetchResponse()
        small.CopyFrom(message)
        small.ClearField("batches")
        return small.SerializeToString(deterministic=True) + stamped()
    return message.SerializeToString(deterministic=True)


def messages() -> dict[str, Any]:
    """Every kind of message of the streams, with what it says."""
    made = [*metadata_messages(), *produce_messages(), *fetch_requests(), *fetch_responses()]
    rows = []
    for name, message in made:
        data = wire(message)
        row: dict[str, Any] = {"name": name, "type": message.DESCRIPTOR.full_name}
        row["message_hex"] = data.hex()
        said = MessageToDict(message, preserving_proto_field_name=True)
        said = json.loads(json.dumps(said, sort_keys=True))  # entries of maps come in any order
        if isinstance(message, fetch_pb2.FetchResponse):
            row["credit"] = len(data) if message.batches else 0
        rows.append(row | {"says": said})
    about = "Messages of the streams and of metadata; see docs/protocols/client-guide.md."
    return {"about": about, "messages": rows}


def main() -> None:
    text = json.dumps(messages(), indent=1, ensure_ascii=False) + "\n"
    (VECTORS / "messages.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
