"""The core against h2's client: a whole exchange with an implementation written by others."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import h2.settings
from hypothesis import given, settings
from hypothesis import strategies as st

from ottla_broker.transport.http2 import Http2Limits, ServerConnection
from ottla_broker.transport.http2.events import DataReceived, RequestReceived, TrailersReceived

from .client import RESPONSE, TRAILERS, joined

HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":path", "/ottla.Test/Call"),
    (":authority", "localhost"),
    ("te", "trailers"),
]


class Pair:
    """h2's client and our server, wired back to back."""

    def __init__(self, limits: Http2Limits | None = None) -> None:
        self.client = h2.connection.H2Connection(
            h2.config.H2Configuration(client_side=True, header_encoding=None)
        )
        self.server = ServerConnection(limits or Http2Limits())
        self.client.initiate_connection()
        self.client_events: list[h2.events.Event] = []
        self.server_events: list[object] = []
        self.received: dict[int, bytes] = {}

    def exchange(self) -> None:
        """Carry bytes both ways until neither side has anything to say."""
        while True:
            data = self.client.data_to_send()
            for event in self.server.receive_data(memoryview(data), now_ms=0):
                if isinstance(event, DataReceived):
                    self.received.setdefault(event.stream_id, b"")
                    self.received[event.stream_id] += bytes(event.data)
                    self.server.acknowledge(event.stream_id, len(event.data))
                self.server_events.append(event)
            answer = joined(
                self.server.data_to_send(size_max=1 << 20, now_ms=0, probe=lambda _: True)
            )
            if not data and not answer:
                return
            for h2_event in self.client.receive_data(answer):
                if isinstance(h2_event, h2.events.DataReceived):
                    self.client.acknowledge_received_data(
                        h2_event.flow_controlled_length, h2_event.stream_id
                    )
                self.client_events.append(h2_event)


def body(events: list[h2.events.Event], stream_id: int) -> bytes:
    return b"".join(
        event.data or b""
        for event in events
        if isinstance(event, h2.events.DataReceived) and event.stream_id == stream_id
    )


def test_h2_learns_our_settings() -> None:
    pair = Pair()
    pair.exchange()
    remote = pair.client.remote_settings
    limits = Http2Limits()
    assert remote.max_concurrent_streams == limits.concurrent_streams_max
    assert remote.initial_window_size == limits.stream_window
    assert remote.max_frame_size == limits.frame_size_max
    assert pair.client.outbound_flow_control_window == limits.connection_window


def test_a_large_body_goes_both_ways_through_small_windows() -> None:
    pair = Pair(Http2Limits(stream_window=70_000, connection_window=90_000))
    pair.client.send_headers(1, HEADERS)
    pair.exchange()
    sent = bytes(range(256)) * 2_000
    position = 0
    while position < len(sent):
        room = min(pair.client.local_flow_control_window(1), pair.client.max_outbound_frame_size)
        piece = sent[position : position + room]
        assert piece, "the server does not return credit"
        pair.client.send_data(1, piece, pad_length=7 if len(piece) < room - 8 else None)
        position += len(piece)
        pair.exchange()
    pair.client.send_headers(1, [("x-end", "1")], end_stream=True)
    pair.exchange()
    assert pair.received[1] == sent
    assert isinstance(pair.server_events[0], RequestReceived)
    assert isinstance(pair.server_events[-1], TrailersReceived)
    pair.server.send_headers(1, RESPONSE, end_stream=False)
    pair.server.send_data(1, [sent])
    pair.server.send_headers(1, TRAILERS, end_stream=True)
    pair.exchange()
    assert body(pair.client_events, 1) == sent
    trailers = [e for e in pair.client_events if isinstance(e, h2.events.TrailersReceived)]
    assert [(bytes(n), bytes(v)) for n, v in trailers[0].headers or ()] == TRAILERS


@settings(max_examples=30)
@given(st.lists(st.integers(0, 60_000), min_size=1, max_size=20), st.integers(16_384, 40_000))
def test_many_streams_of_any_sizes_arrive_whole_at_any_frame_size(
    sizes: list[int], frame_size: int
) -> None:
    pair = Pair()
    pair.client.update_settings({h2.settings.SettingCodes.MAX_FRAME_SIZE: frame_size})
    for number, size in enumerate(sizes):
        pair.client.send_headers(2 * number + 1, HEADERS, end_stream=True)
        pair.exchange()
        pair.server.send_headers(2 * number + 1, RESPONSE, end_stream=False)
        pair.server.send_data(2 * number + 1, [b"p" * 5, b"%c" % number * size])
    for number in range(len(sizes)):
        pair.server.send_headers(2 * number + 1, TRAILERS, end_stream=True)
    pair.exchange()
    for number, size in enumerate(sizes):
        assert body(pair.client_events, 2 * number + 1) == b"p" * 5 + b"%c" % number * size
    ended = [e.stream_id for e in pair.client_events if isinstance(e, h2.events.StreamEnded)]
    assert sorted(ended) == [2 * number + 1 for number in range(len(sizes))]


def test_h2_sees_an_early_answer_as_a_response_and_a_polite_reset() -> None:
    pair = Pair()
    pair.client.send_headers(1, HEADERS)
    pair.exchange()
    pair.server.send_headers(1, RESPONSE, end_stream=True)
    pair.exchange()
    kinds = [type(event).__name__ for event in pair.client_events]
    assert kinds[-3:] == ["ResponseReceived", "StreamEnded", "StreamReset"] or kinds[-2:] == [
        "ResponseReceived",
        "StreamEnded",
    ]


def test_h2_sees_a_reset_and_keeps_its_other_streams() -> None:
    pair = Pair()
    pair.client.send_headers(1, HEADERS)
    pair.client.send_headers(3, HEADERS)
    pair.exchange()
    pair.server.reset_stream(1, 0xB)
    pair.server.send_headers(3, RESPONSE, end_stream=False)
    pair.server.send_data(3, [b"fine"])
    pair.exchange()
    (reset,) = [e for e in pair.client_events if isinstance(e, h2.events.StreamReset)]
    assert (reset.stream_id, reset.error_code) == (1, 0xB)
    assert body(pair.client_events, 3) == b"fine"
