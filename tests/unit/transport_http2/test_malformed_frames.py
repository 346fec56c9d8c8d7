"""Malformed frames of every type end the connection with the error the specification names."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.http2 import ErrorCode, Http2Limits
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.events import ConnectionFailed, DataReceived

from .client import Client, Frame, frame

PROTOCOL, SIZE = ErrorCode.PROTOCOL_ERROR, ErrorCode.FRAME_SIZE_ERROR
FLOW, CALM = ErrorCode.FLOW_CONTROL_ERROR, ErrorCode.ENHANCE_YOUR_CALM
OPEN_STREAM, IDLE_STREAM = 1, 99

CASES = {
    "DATA on stream 0": (frame(wire.DATA, 0, 0, b"x"), PROTOCOL),
    "DATA on an idle stream": (frame(wire.DATA, 0, IDLE_STREAM, b"x"), PROTOCOL),
    "DATA on an even stream": (frame(wire.DATA, 0, 2, b"x"), PROTOCOL),
    "DATA with more padding than payload": (
        frame(wire.DATA, wire.FLAG_PADDED, 1, b"\x05abc"),
        PROTOCOL,
    ),
    "padded DATA without room for its padding": (frame(wire.DATA, wire.FLAG_PADDED, 1), PROTOCOL),
    "HEADERS on stream 0": (frame(wire.HEADERS, 4, 0, b"\x82"), PROTOCOL),
    "HEADERS on an even stream": (frame(wire.HEADERS, 4, 2, b"\x82"), PROTOCOL),
    "padded HEADERS without payload": (frame(wire.HEADERS, 4 | 8, 3), PROTOCOL),
    "HEADERS with more padding than payload": (frame(wire.HEADERS, 4 | 8, 3, b"\x09a"), PROTOCOL),
    "HEADERS too short for their priority": (frame(wire.HEADERS, 4 | 0x20, 3, b"abc"), PROTOCOL),
    "HEADERS with an index that does not exist": (
        frame(wire.HEADERS, 4, 3, b"\xff\x7f"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "HEADERS with a truncated literal": (
        frame(wire.HEADERS, 4, 3, b"\x40\x0aab"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "HEADERS with a table larger than allowed": (
        frame(wire.HEADERS, 4, 3, b"\x3f\xff\xff\x7f"),
        ErrorCode.COMPRESSION_ERROR,
    ),
    "HEADERS on a stream passed over": (
        frame(wire.HEADERS, 5, 7, b"\x83\x86\x84") + frame(wire.HEADERS, 5, 5, b"\x83\x86\x84"),
        PROTOCOL,
    ),
    "another frame inside a header block": (
        frame(wire.HEADERS, 0, 3, b"\x82") + wire.ping_frame(bytes(8), ack=False),
        PROTOCOL,
    ),
    "CONTINUATION of another stream's block": (
        frame(wire.HEADERS, 0, 3, b"\x82") + frame(wire.CONTINUATION, 4, 5, b"\x86"),
        PROTOCOL,
    ),
    "CONTINUATION without HEADERS": (frame(wire.CONTINUATION, 4, 1, b"\x82"), PROTOCOL),
    "PRIORITY on stream 0": (frame(wire.PRIORITY, 0, 0, bytes(5)), PROTOCOL),
    "RST_STREAM on stream 0": (wire.reset_frame(0, 0), PROTOCOL),
    "RST_STREAM on an idle stream": (wire.reset_frame(IDLE_STREAM, 0), PROTOCOL),
    "RST_STREAM of three bytes": (frame(wire.RST_STREAM, 0, 1, bytes(3)), SIZE),
    "SETTINGS on a stream": (frame(wire.SETTINGS, 0, 1, b""), PROTOCOL),
    "SETTINGS of five bytes": (frame(wire.SETTINGS, 0, 0, bytes(5)), SIZE),
    "SETTINGS acknowledgement with payload": (frame(wire.SETTINGS, 1, 0, bytes(6)), SIZE),
    "ENABLE_PUSH of 2": (wire.settings_frame([(2, 2)]), PROTOCOL),
    "INITIAL_WINDOW_SIZE past the maximum": (wire.settings_frame([(4, 2**31)]), FLOW),
    "MAX_FRAME_SIZE below the minimum": (wire.settings_frame([(5, 16_383)]), PROTOCOL),
    "MAX_FRAME_SIZE above the maximum": (wire.settings_frame([(5, 2**24)]), PROTOCOL),
    "PUSH_PROMISE from a client": (frame(wire.PUSH_PROMISE, 4, 1, bytes(4)), PROTOCOL),
    "PING on a stream": (frame(wire.PING, 0, 1, bytes(8)), PROTOCOL),
    "PING of seven bytes": (frame(wire.PING, 0, 0, bytes(7)), SIZE),
    "GOAWAY on a stream": (frame(wire.GOAWAY, 0, 1, bytes(8)), PROTOCOL),
    "GOAWAY of seven bytes": (frame(wire.GOAWAY, 0, 0, bytes(7)), SIZE),
    "WINDOW_UPDATE of 0 on the connection": (wire.window_update_frame(0, 0), PROTOCOL),
    "WINDOW_UPDATE on an idle stream": (wire.window_update_frame(IDLE_STREAM, 1), PROTOCOL),
    "WINDOW_UPDATE of three bytes": (frame(wire.WINDOW_UPDATE, 0, 0, bytes(3)), SIZE),
    "WINDOW_UPDATE of five bytes": (frame(wire.WINDOW_UPDATE, 0, 1, bytes(5)), SIZE),
    "WINDOW_UPDATE past the maximum on the connection": (
        wire.window_update_frame(0, 2**31 - 1),
        FLOW,
    ),
    "a frame larger than allowed": (
        wire.frame_header(Http2Limits().frame_size_max + 1, wire.DATA, 0, 1),
        SIZE,
    ),
    "an unknown frame larger than allowed": (
        wire.frame_header(Http2Limits().frame_size_max + 1, 0xAA, 0, 1),
        SIZE,
    ),
    "HEADERS larger than any header list": (wire.frame_header(500_000, wire.HEADERS, 4, 3), CALM),
}


@pytest.mark.parametrize(("payload", "code"), CASES.values(), ids=CASES.keys())
def test_a_malformed_frame_ends_the_connection(payload: bytes, code: ErrorCode) -> None:
    client = Client()
    client.open(OPEN_STREAM)
    failed = client.send(payload)[-1]
    assert isinstance(failed, ConnectionFailed)
    assert failed.error_code == code
    goaway = client.answers()[-1]
    assert (goaway.kind, goaway.code) == (wire.GOAWAY, code)
    assert goaway.payload[8:] == failed.reason.encode()
    assert client.server.failed
    # Nothing more is taken in.
    assert client.open(101) == []
    assert client.answers() == []


@pytest.mark.parametrize("payload", [bytes(4), bytes(6)])
def test_priority_of_a_wrong_size_resets_its_stream(payload: bytes) -> None:
    client = Client()
    client.open(1)
    client.send(frame(wire.PRIORITY, 0, 1, payload))
    (reset,) = client.answers()
    assert (reset.kind, reset.code) == (wire.RST_STREAM, ErrorCode.FRAME_SIZE_ERROR)


def test_priority_and_unknown_frames_are_ignored_on_any_stream_in_any_size() -> None:
    client = Client()
    client.open(1)
    assert client.send(frame(wire.PRIORITY, 0, IDLE_STREAM, bytes(5))) == []
    assert client.send(frame(0xBB, 0xFF, 1, bytes(100_000))) == []
    assert client.send(frame(0xBB, 0xFF, 0, b"")) == []
    assert client.data(b"x") == [DataReceived(1, memoryview(b"x"), end_stream=False)]
    assert client.answers() == []


def test_unknown_settings_and_flags_are_ignored() -> None:
    client = Client()
    assert client.settings((0x99, 7), (0x6, 100)) == []
    client.send(frame(wire.PING, 0xFE, 0, b"12345678"))
    assert client.answers() == [
        Frame(wire.SETTINGS, wire.FLAG_ACK, 0, b""),
        Frame(wire.PING, wire.FLAG_ACK, 0, b"12345678"),
    ]


@pytest.mark.parametrize(
    "opening",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"PRI * HTTP/2.0\r\n\r\nXX",
        b"\x00",
    ],
)
def test_bytes_of_another_protocol_are_told_apart_from_the_first_on(opening: bytes) -> None:
    client = Client(greet=False)
    (failed,) = client.send(opening)
    assert failed == ConnectionFailed(PROTOCOL, "not_http2")


def test_the_preface_may_arrive_in_pieces_and_must_be_followed_by_settings() -> None:
    client = Client(greet=False)
    assert client.send(wire.PREFACE[:7]) == []
    assert client.send(wire.PREFACE[7:]) == []
    assert client.answers() == []
    assert not client.server.started
    (failed,) = client.send(wire.ping_frame(bytes(8), ack=False))
    assert failed == ConnectionFailed(PROTOCOL, "unexpected_frame")


raw_frames = st.builds(
    frame,
    st.integers(0, 12),
    st.integers(0, 255),
    st.sampled_from([0, 1, 2, 3, 5, 99, 2**31 - 1]),
    st.binary(max_size=40),
)


@given(st.lists(st.one_of(raw_frames, st.binary(max_size=30)), max_size=15), st.integers(1, 50))
def test_no_bytes_raise_anything_and_a_failed_connection_ends_with_goaway(
    pieces: list[bytes], cut: int
) -> None:
    client = Client()
    client.open(1)
    client.server.send_headers(1, [(b":status", b"200")], end_stream=False)
    client.server.send_data(1, [b"x" * 100_000])
    payload = b"".join(pieces)
    sent = []
    for start in range(0, len(payload), cut):
        client.send(payload[start : start + cut])
        sent += client.answers()
    if client.server.failed:
        assert sent[-1].kind == wire.GOAWAY
        assert [answer.kind for answer in sent].count(wire.GOAWAY) == 1
    else:
        assert wire.GOAWAY not in [answer.kind for answer in sent]


@given(st.binary(max_size=200))
def test_any_header_block_is_a_request_a_reset_or_a_goaway(block: bytes) -> None:
    client = Client()
    events = client.send(frame(wire.HEADERS, wire.FLAG_END_HEADERS, 1, block))
    answers = client.answers()
    if client.server.failed:
        assert isinstance(events[-1], ConnectionFailed)
        assert answers[-1].code in {ErrorCode.COMPRESSION_ERROR, CALM}
    elif not events:
        assert [answer.kind for answer in answers] == [wire.RST_STREAM]


@pytest.mark.parametrize(
    "frames",
    [
        wire.frame_header(200, wire.HEADERS, 4, 1) + bytes(199),
        wire.frame_header(200, 0xEE, 0, 0) + bytes(199),
        frame(wire.HEADERS, 0, 1) + frame(wire.CONTINUATION, 0, 1) * 9,
    ],
    ids=["headers", "unknown", "continuations"],
)
def test_what_trickles_in_is_known_by_its_beginning(frames: bytes) -> None:
    client = Client()
    assert client.server.unfinished_since_ms is None
    client.send(frames[:9])
    began_ms = client.now_ms
    # A header frame becomes a header block, which is another thing but once.
    allowed = {began_ms, began_ms + 1}
    for position in range(9, len(frames)):
        client.now_ms += 1
        client.send(frames[position : position + 1])
        assert client.server.unfinished_since_ms in allowed
    assert client.server.inside_frame


def test_frames_that_are_each_cut_but_go_on_are_not_one_unfinished_frame() -> None:
    client = Client()
    ping = frame(wire.PING, 0, 0, b"12345678")
    client.send(ping[:5])
    for _ in range(10):
        client.now_ms += 1
        client.send(ping[5:] + ping[:5])
        assert client.server.unfinished_since_ms == client.now_ms
    client.send(ping[5:])
    assert client.server.unfinished_since_ms is None


def test_half_a_data_frame_is_no_unfinished_header() -> None:
    client = Client()
    client.open()
    client.send(wire.frame_header(100, wire.DATA, 0, 1) + b"some of it")
    assert (client.server.unfinished_since_ms, client.server.inside_frame) == (None, True)
