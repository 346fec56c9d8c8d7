"""What a fetch session says, encoded: events as they are, batches as a head before a file range.

Owns the encoding of FetchResponses and the reading of FetchRequests' starts. Pure.
"""

from __future__ import annotations

from ottla.api.fetch.v1 import fetch_pb2
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import InvalidRequest, OttlaError
from ottla_broker.replica.partition import Partition as Replica
from ottla_broker.rpc.read_plan import Place, check_read
from ottla_broker.storage.log_slice import LogSlice
from ottla_broker.transport.stream import EncodedMessage, FileRange

HEARTBEAT = fetch_pb2.FetchResponse(heartbeat=fetch_pb2.Heartbeat())


def place_of(start: fetch_pb2.ReadStart) -> Place:
    """Where a subscription begins. Raises InvalidRequest, UnsupportedVersion."""
    return check_read(fetch_pb2.ReadRequest(start=start)).start


def batches_message(subscription_id: int, replica: Replica, part: LogSlice) -> EncodedMessage:
    """A slice as a message; the slice's hold on its file goes over to the message."""
    head = positions(subscription_id, replica, next_offset=part.next_offset).SerializeToString()
    return EncodedMessage((head, FileRange(part.file, part.position, part.size)))


def positions(
    subscription_id: int, replica: Replica, *, next_offset: int
) -> fetch_pb2.FetchResponse:
    """What every message of a subscription says; without transactions all committed is stable."""
    return fetch_pb2.FetchResponse(
        subscription_id=subscription_id,
        high_watermark=replica.high_watermark,
        last_stable_offset=replica.high_watermark,
        log_start_offset=replica.log_start_offset,
        next_offset=next_offset,
    )


def subscribed(
    subscription_id: int, replica: Replica, *, next_offset: int
) -> fetch_pb2.FetchResponse:
    """A subscription begins."""
    message = positions(subscription_id, replica, next_offset=next_offset)
    message.subscribed.next_offset = next_offset
    return message


def ended(subscription_id: int, error: OttlaError | None = None) -> fetch_pb2.FetchResponse:
    """A subscription is over, with an error or because the client wanted it so."""
    message = fetch_pb2.FetchResponse(subscription_id=subscription_id)
    message.ended.SetInParent()
    if error is not None:
        message.ended.error.CopyFrom(to_proto(error))
    return message


def check_new_id(subscription_id: int) -> int:
    """A subscription's id. Raises InvalidRequest for the session's own."""
    if subscription_id == 0:
        raise InvalidRequest("subscription_id 0 is the session's own; begin at 1")
    return subscription_id
