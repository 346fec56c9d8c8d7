"""Requests by raw frames: what becomes an event, and what is refused on its stream alone."""

from __future__ import annotations

import pytest

from ottla_broker.transport.http2 import ErrorCode, Http2Limits
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.events import (
    DataReceived,
    RequestReceived,
    StreamAborted,
    TrailersReceived,
)
from ottla_broker.transport.stream import Header

from .client import REQUEST, RESPONSE, TRAILERS, Client, Frame, frame

END = wire.FLAG_END_HEADERS | wire.FLAG_END_STREAM


def without(name: bytes) -> list[Header]:
    return [header for header in REQUEST if header[0] != name]


def test_the_server_greets_with_its_settings_a_window_and_an_acknowledgement() -> None:
    greeting = Client().greeting
    kinds = [(answer.kind, answer.flags) for answer in greeting]
    assert kinds == [(wire.SETTINGS, 0), (wire.WINDOW_UPDATE, 0), (wire.SETTINGS, wire.FLAG_ACK)]
    assert greeting[1].number == Http2Limits().connection_window - 65_535


def test_a_request_keeps_order_and_repeats_of_its_headers() -> None:
    client = Client()
    headers = [*REQUEST, (b"key-bin", b"AA"), (b"other", b"x"), (b"key-bin", b"BB")]
    events = client.send(client.headers(headers))
    assert events == [RequestReceived(1, headers, end_stream=False)]


def test_frames_arriving_byte_by_byte_make_the_same_events() -> None:
    client = Client(greet=False)
    payload = wire.PREFACE + wire.settings_frame([])
    payload += client.headers(REQUEST)
    payload += frame(wire.DATA, wire.FLAG_PADDED, 1, b"\x03" + b"hello" + bytes(3))
    payload += frame(wire.DATA, wire.FLAG_END_STREAM, 1, b"world")
    events = [event for byte in payload for event in client.send(bytes([byte]))]
    assert isinstance(events[0], RequestReceived)
    pieces = [event for event in events if isinstance(event, DataReceived)]
    assert b"".join(bytes(piece.data) for piece in pieces) == b"helloworld"
    assert [piece.end_stream for piece in pieces] == [False] * 9 + [True]


def test_trailers_from_the_client_end_its_side() -> None:
    client = Client()
    client.open()
    events = client.send(client.headers([(b"x-checksum", b"1")], flags=END))
    assert events == [TrailersReceived(1, [(b"x-checksum", b"1")])]


def test_a_header_block_in_many_frames_is_one_request() -> None:
    client = Client()
    block = client.encoder.encode([*REQUEST, (b"padding", b"x" * 200)])
    client.send(frame(wire.HEADERS, wire.FLAG_END_STREAM, 1, block[:10]))
    assert client.server.inside_frame
    client.send(frame(wire.CONTINUATION, 0, 1, block[10:50]))
    events = client.send(frame(wire.CONTINUATION, wire.FLAG_END_HEADERS, 1, block[50:]))
    assert isinstance(events[0], RequestReceived)
    assert events[0].end_stream
    assert not client.server.inside_frame


def test_headers_may_be_padded_and_carry_a_priority() -> None:
    client = Client()
    block = client.encoder.encode(REQUEST)
    payload = b"\x04" + bytes(5) + block + bytes(4)
    flags = END | wire.FLAG_PADDED | wire.FLAG_PRIORITY
    (event,) = client.send(frame(wire.HEADERS, flags, 1, payload))
    assert event == RequestReceived(1, REQUEST, end_stream=True)


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param([*REQUEST, (b"Upper", b"x")], id="upper-case name"),
        pytest.param([*REQUEST, (b"", b"x")], id="empty name"),
        pytest.param([*REQUEST, (b"sp ace", b"x")], id="space in a name"),
        pytest.param([*REQUEST, (b"colon:", b"x")], id="colon in a name"),
        pytest.param([*REQUEST, (b"nul", b"a\x00b")], id="NUL in a value"),
        pytest.param([*REQUEST, (b"line", b"a\r\nb: c")], id="line break in a value"),
        pytest.param([*REQUEST, (b"space", b" x")], id="leading space in a value"),
        pytest.param([*REQUEST, (b"space", b"x\t")], id="trailing tab in a value"),
        pytest.param([*REQUEST, (b"connection", b"close")], id="connection header"),
        pytest.param([*REQUEST, (b"transfer-encoding", b"chunked")], id="transfer-encoding"),
        pytest.param([*without(b"te"), (b"te", b"gzip")], id="te other than trailers"),
        pytest.param([*REQUEST, (b":path", b"/again")], id="pseudo-header after regular ones"),
        pytest.param([(b":path", b"/twice"), *REQUEST], id="pseudo-header twice"),
        pytest.param([(b":status", b"200"), *REQUEST], id="response pseudo-header"),
        pytest.param([(b":unknown", b"x"), *REQUEST], id="unknown pseudo-header"),
        pytest.param(without(b":method"), id="no method"),
        pytest.param(without(b":scheme"), id="no scheme"),
        pytest.param(without(b":path"), id="no path"),
        pytest.param([*without(b":path")[:2], (b":path", b"")], id="empty path"),
        pytest.param([*REQUEST, (b"content-length", b"-1")], id="negative content-length"),
        pytest.param([*REQUEST, (b"content-length", b"ten")], id="content-length in words"),
        pytest.param(
            [*REQUEST, (b"content-length", b"1"), (b"content-length", b"2")],
            id="two content-lengths",
        ),
    ],
)
def test_a_malformed_header_list_resets_its_stream_and_no_other(headers: list[Header]) -> None:
    client = Client()
    client.open(1)
    assert client.send(client.headers(headers, stream_id=3)) == []
    assert client.answers() == [
        Frame(wire.RST_STREAM, 0, 3, ErrorCode.PROTOCOL_ERROR.to_bytes(4, "big"))
    ]
    # The connection, its compression state and the other stream are as before.
    assert client.open(5)[0] == RequestReceived(5, REQUEST, end_stream=False)
    assert client.data(b"x")[0] == DataReceived(1, memoryview(b"x"), end_stream=False)


def test_connect_is_refused_on_its_stream() -> None:
    client = Client()
    assert client.send(client.headers([(b":method", b"CONNECT"), (b":authority", b"a:1")])) == []
    (reset,) = client.answers()
    assert (reset.kind, reset.code) == (wire.RST_STREAM, ErrorCode.CONNECT_ERROR)


@pytest.mark.parametrize(
    "trailers", [[(b":status", b"200")], [(b"Upper", b"x")], [(b"connection", b"close")]]
)
def test_malformed_trailers_reset_the_stream(trailers: list[Header]) -> None:
    client = Client()
    client.open()
    events = client.send(client.headers(trailers, flags=END))
    assert events == [StreamAborted(1, ErrorCode.PROTOCOL_ERROR, by_peer=False)]
    assert [answer.code for answer in client.answers()] == [ErrorCode.PROTOCOL_ERROR]


def test_trailers_that_do_not_end_the_stream_reset_it() -> None:
    client = Client()
    client.open()
    events = client.send(client.headers([(b"x", b"y")]))
    assert events == [StreamAborted(1, ErrorCode.PROTOCOL_ERROR, by_peer=False)]


@pytest.mark.parametrize(
    ("announced", "pieces"),
    [
        (b"3", [b"hell"]),
        (b"3", [b"he", b"ll"]),
        (b"5", [b"hell"]),
        (b"5", [b""]),
    ],
)
def test_a_body_of_another_size_than_its_content_length_resets_the_stream(
    announced: bytes, pieces: list[bytes]
) -> None:
    client = Client()
    client.send(client.headers([*REQUEST, (b"content-length", announced)]))
    events = []
    for index, piece in enumerate(pieces):
        last = index == len(pieces) - 1
        events += client.data(piece, flags=wire.FLAG_END_STREAM if last else 0)
    assert events[-1] == StreamAborted(1, ErrorCode.PROTOCOL_ERROR, by_peer=False)
    (reset,) = client.answers()
    assert (reset.kind, reset.code) == (wire.RST_STREAM, ErrorCode.PROTOCOL_ERROR)


def test_a_content_length_with_an_empty_body_is_malformed_at_once() -> None:
    client = Client()
    assert client.send(client.headers([*REQUEST, (b"content-length", b"1")], flags=END)) == []
    (reset,) = client.answers()
    assert (reset.kind, reset.code) == (wire.RST_STREAM, ErrorCode.PROTOCOL_ERROR)


def test_padding_does_not_count_in_the_content_length() -> None:
    client = Client()
    client.send(client.headers([*REQUEST, (b"content-length", b"5")]))
    flags = wire.FLAG_END_STREAM | wire.FLAG_PADDED
    events = client.data(b"\x02hello\x00\x00", flags=flags)
    assert events == [
        DataReceived(1, memoryview(b"hello"), end_stream=False),
        DataReceived(1, memoryview(b""), end_stream=True),
    ]
    assert client.answers() == []


def test_content_length_holds_for_payload_the_caller_received_itself() -> None:
    client = Client()
    client.send(client.headers([*REQUEST, (b"content-length", b"10")]))
    client.send(wire.frame_header(10, wire.DATA, wire.FLAG_END_STREAM, 1) + b"0123")
    assert client.server.direct_data() == (1, 6)
    events = client.server.received_directly(6, now_ms=client.now_ms)
    assert events == [DataReceived(1, memoryview(b""), end_stream=True)]
    assert client.server.direct_data()[1] == 0


def test_data_after_the_end_of_the_request_resets_the_stream() -> None:
    client = Client()
    client.open(end_stream=True)
    events = client.data(b"more")
    assert events == [StreamAborted(1, ErrorCode.STREAM_CLOSED, by_peer=False)]


def test_a_reset_by_the_client_is_told_with_its_code() -> None:
    client = Client()
    client.open()
    assert client.send(wire.reset_frame(1, 8)) == [StreamAborted(1, 8, by_peer=True)]
    assert client.answers() == []
    assert client.server.open_streams == 0


def test_response_headers_and_trailers_reach_the_client_and_end_the_stream() -> None:
    client = Client()
    client.open(end_stream=True)
    assert client.server.send_headers(1, RESPONSE, end_stream=False)
    assert client.server.send_headers(1, TRAILERS, end_stream=True)
    first, last = client.answers()
    assert client.decode(first.payload) == RESPONSE
    assert client.decode(last.payload) == TRAILERS
    assert last.flags == END
    assert client.server.take_ended() == [1]
    assert not client.server.send_headers(1, TRAILERS, end_stream=True)


def test_answering_before_the_request_has_ended_tells_the_client_to_stop() -> None:
    client = Client()
    client.open()
    client.server.send_headers(1, RESPONSE, end_stream=True)
    headers, reset = client.answers()
    assert headers.flags == END
    assert (reset.kind, reset.code) == (wire.RST_STREAM, ErrorCode.NO_ERROR)
    # What the client sent before it knew is dropped without another word.
    assert client.data(b"late") == []
    assert client.send(client.headers([(b"late", b"x")], flags=END)) == []
    assert client.answers() == []
