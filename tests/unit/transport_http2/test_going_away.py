"""The end of a connection, announced by either side: streams in flight finish."""

from __future__ import annotations

import pytest

from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.events import (
    DataReceived,
    GoAwayReceived,
    PingAcknowledged,
    RequestReceived,
)

from .client import REQUEST, RESPONSE, TRAILERS, Client, Frame


def test_a_drain_says_goaway_twice_and_the_streams_in_flight_finish() -> None:
    client = Client()
    streams = [2 * number + 1 for number in range(10)]
    for stream_id in streams:
        client.open(stream_id)
    client.server.begin_drain()
    first, ping = client.answers()
    assert (first.kind, first.number, first.code) == (wire.GOAWAY, 2**31 - 1, 0)
    assert (ping.kind, ping.flags) == (wire.PING, 0)

    # A request that crossed the first GOAWAY is still served.
    assert client.open(21) == [RequestReceived(21, REQUEST, end_stream=False)]
    assert client.send(wire.ping_frame(ping.payload, ack=True)) == []
    (second,) = client.answers()
    assert (second.kind, second.number, second.code) == (wire.GOAWAY, 21, 0)

    assert client.open(23) == []
    (refusal,) = client.answers()
    assert (refusal.stream_id, refusal.code) == (23, ErrorCode.REFUSED_STREAM)

    for stream_id in [*streams, 21]:
        assert not client.server.drained
        events = client.data(b"last", stream_id=stream_id, flags=wire.FLAG_END_STREAM)
        assert events == [DataReceived(stream_id, memoryview(b"last"), end_stream=True)]
        client.server.send_headers(stream_id, RESPONSE, end_stream=False)
        client.server.send_data(stream_id, [b"answer"])
        client.server.send_headers(stream_id, TRAILERS, end_stream=True)
        kinds = [answer.kind for answer in client.answers()]
        assert kinds == [wire.HEADERS, wire.DATA, wire.HEADERS]
    assert client.server.drained
    assert not client.server.failed


def test_a_drain_goes_on_without_the_answer_when_told_to() -> None:
    client = Client()
    client.open(1, end_stream=True)
    client.server.begin_drain()
    client.server.begin_drain()
    assert [answer.kind for answer in client.answers()] == [wire.GOAWAY, wire.PING]
    client.server.finish_drain()
    client.server.finish_drain()
    (second,) = client.answers()
    assert second.number == 1


def test_an_idle_connection_is_drained_once_the_client_has_heard_of_it() -> None:
    client = Client()
    client.server.begin_drain()
    assert not client.server.drained
    client.server.finish_drain()
    assert client.server.drained


def test_the_clients_goaway_still_gets_its_trailers() -> None:
    client = Client()
    client.open(1, end_stream=True)
    events = client.send(wire.goaway_frame(0, ErrorCode.NO_ERROR, debug=b"bye"))
    assert events == [GoAwayReceived(0, 0, b"bye")]
    assert client.server.draining
    assert not client.server.drained
    client.server.send_headers(1, RESPONSE, end_stream=False)
    client.server.send_data(1, [b"answer"])
    client.server.send_headers(1, TRAILERS, end_stream=True)
    headers, data, trailers = client.answers()
    assert data.payload == b"answer"
    assert client.decode(headers.payload) == RESPONSE
    assert client.decode(trailers.payload) == TRAILERS
    assert client.server.drained


def test_closing_drops_what_is_queued_and_says_why() -> None:
    client = Client()
    client.open(1, end_stream=True)
    client.server.send_headers(1, RESPONSE, end_stream=False)
    client.server.send_data(1, [b"never sent"])
    client.server.close(ErrorCode.NO_ERROR, "server_closed")
    (goaway,) = client.answers()
    assert goaway == Frame(wire.GOAWAY, 0, 0, b"\0\0\0\1\0\0\0\0server_closed")


def test_a_ping_of_ours_that_is_answered_is_an_event() -> None:
    client = Client()
    client.server.ping(b"are-you?")
    assert client.answers() == [Frame(wire.PING, 0, 0, b"are-you?")]
    assert client.send(wire.ping_frame(b"are-you?", ack=True)) == [PingAcknowledged(b"are-you?")]


@pytest.mark.parametrize("code", [ErrorCode.NO_ERROR, ErrorCode.INTERNAL_ERROR])
def test_a_lost_connection_leaves_nothing_queued(code: ErrorCode) -> None:
    client = Client()
    client.open(1)
    client.server.send_data(1, [b"x" * 10])
    client.server.reset_stream(1, code)
    client.open(3)
    client.server.send_data(3, [b"x" * 10])
    client.server.connection_lost()
    assert client.server.output.memory_size == 0
    assert client.server.open_streams == 0
    assert not client.server.send_data(3, [b"x"])
