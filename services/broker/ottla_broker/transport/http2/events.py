"""What a client did, as `ServerConnection.receive_data` tells it.

Views in `DataReceived` point into the buffer that was fed in: they are valid until the next
call, so whoever wants the bytes longer copies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ottla_broker.transport.stream import Header


@dataclass(slots=True)
class RequestReceived:
    """A new stream: its header list is whole and well-formed."""

    stream_id: int
    headers: Sequence[Header]
    end_stream: bool


@dataclass(slots=True)
class DataReceived:
    """A piece of DATA payload without padding; `end_stream` comes with the last piece."""

    stream_id: int
    data: memoryview
    end_stream: bool


@dataclass(slots=True)
class TrailersReceived:
    """The client ended its side with trailers."""

    stream_id: int
    headers: Sequence[Header]


@dataclass(slots=True)
class StreamAborted:
    """A stream is over: reset by the client, or by us for a fault of the client's."""

    stream_id: int
    error_code: int
    by_peer: bool


@dataclass(slots=True)
class PingAcknowledged:
    """The answer to a PING of ours."""

    opaque: bytes


@dataclass(slots=True)
class GoAwayReceived:
    """The client will open no more streams; those in flight go on."""

    last_stream_id: int
    error_code: int
    debug: bytes


@dataclass(slots=True)
class ConnectionFailed:
    """The connection is over for a fault of the client's; GOAWAY is queued, nothing else is."""

    error_code: int
    reason: str


Event = (
    RequestReceived
    | DataReceived
    | TrailersReceived
    | StreamAborted
    | PingAcknowledged
    | GoAwayReceived
    | ConnectionFailed
)
