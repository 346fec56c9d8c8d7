"""ProduceRequests as bytes: batches first, untouched, then the small fields.

Owns that encoding; parsing answers is protobuf's. A frame is appended to a request as it is, so
that a batch is copied once and never parsed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ottla.api.produce.v1 import produce_pb2
from ottla.protocol.errors import InvalidConfig

PRODUCE_METHOD: Final = "/ottla.api.produce.v1.ProduceService/Produce"
HEARTBEAT: Final = produce_pb2.ProduceRequest(heartbeat=True).SerializeToString()

ACKS: Final = {
    "all": produce_pb2.ACKS_ALL,
    "leader": produce_pb2.ACKS_LEADER,
    "none": produce_pb2.ACKS_NONE,
}


def acks_named(acks: str | int) -> produce_pb2.Acks.ValueType:
    """The acks of a setting: all, leader or none, or as Kafka's users know them -1, 1, 0.

    Raises:
        InvalidConfig: for anything else.
    """
    name = {-1: "all", 1: "leader", 0: "none"}.get(acks) if isinstance(acks, int) else acks
    found = ACKS.get(str(name))
    if found is None:
        raise InvalidConfig(f"acks={acks!r}: it must be all, leader or none")
    return found


@dataclass(frozen=True, slots=True)
class RequestHead:
    """What a request says beside its batch."""

    correlation_id: int
    topic: str
    topic_id: bytes
    partition: int
    leader_epoch: int | None
    acks: produce_pb2.Acks.ValueType
    timeout_ms: int
    resumes: bool


def produce_request(frame: bytes | bytearray, head: RequestHead) -> bytes:
    """One batch with its fields, ready to be sent."""
    fields = produce_pb2.ProduceRequest(
        correlation_id=head.correlation_id,
        topic=head.topic,
        topic_id=head.topic_id,
        partition=head.partition,
        leader_epoch=head.leader_epoch,
        acks=head.acks,
        timeout_ms=head.timeout_ms,
        resume_partition=head.resumes,
    )
    return b"".join((frame, fields.SerializeToString()))
