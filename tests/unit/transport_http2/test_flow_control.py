"""Windows of both levels and both directions, by raw frames."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.http2 import ErrorCode, Http2Limits
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.events import ConnectionFailed, StreamAborted

from .client import RESPONSE, Client, Frame

SMALL = Http2Limits(stream_window=1_000, connection_window=100_000)


def sent_data(frames: list[Frame], stream_id: int = 1) -> bytes:
    return b"".join(f.payload for f in frames if (f.kind, f.stream_id) == (wire.DATA, stream_id))


def updates(frames: list[Frame], stream_id: int) -> list[int]:
    kind = wire.WINDOW_UPDATE
    return [f.number for f in frames if (f.kind, f.stream_id) == (kind, stream_id)]


def responding(client: Client, *, stream_id: int = 1, size: int) -> None:
    client.open(stream_id, end_stream=True)
    client.server.send_headers(stream_id, RESPONSE, end_stream=False)
    client.server.send_data(stream_id, [b"d" * size])


def test_data_stops_at_the_streams_window_and_goes_on_with_an_update() -> None:
    client = Client()
    responding(client, size=70_000)
    assert len(sent_data(client.answers())) == 65_535
    assert client.server.output.sending_is_held(1)
    client.send(wire.window_update_frame(0, 100_000))
    assert client.answers() == []
    client.send(wire.window_update_frame(1, 10))
    assert len(sent_data(client.answers())) == 10
    client.send(wire.window_update_frame(1, 100_000))
    assert len(sent_data(client.answers())) == 70_000 - 65_545


def test_streams_share_the_connections_window_and_all_go_on_when_it_opens() -> None:
    client = Client()
    client.settings((4, 1_000_000))
    for stream_id in (1, 3):
        responding(client, stream_id=stream_id, size=50_000)
    before = client.answers()
    assert len(sent_data(before, 1)) + len(sent_data(before, 3)) == 65_535
    client.send(wire.window_update_frame(0, 1_000_000))
    after = client.answers()
    for stream_id in (1, 3):
        assert len(sent_data(before, stream_id) + sent_data(after, stream_id)) == 50_000


def test_settings_can_make_a_window_negative_and_updates_must_fill_it_first() -> None:
    client = Client()
    responding(client, size=65_000)
    assert len(sent_data(client.answers())) == 65_000
    client.settings((4, 100))
    client.server.send_data(1, [b"e" * 50])
    assert sent_data(client.answers()) == b""
    # The window is 535 - 65,435 = -64,900 now.
    client.send(wire.window_update_frame(1, 64_900))
    assert sent_data(client.answers()) == b""
    client.send(wire.window_update_frame(1, 20))
    assert sent_data(client.answers()) == b"e" * 20
    client.settings((4, 130))
    assert sent_data(client.answers()) == b"e" * 30


def test_a_larger_initial_window_lets_held_streams_go_on() -> None:
    client = Client()
    client.settings((4, 0))
    responding(client, size=10)
    assert sent_data(client.answers()) == b""
    client.settings((4, 5))
    assert sent_data(client.answers()) == b"d" * 5


def test_an_initial_window_that_overflows_a_streams_ends_the_connection() -> None:
    client = Client()
    client.open(1)
    client.send(wire.window_update_frame(1, 2**31 - 1 - 65_535))
    (failed,) = client.settings((4, 65_536))
    assert isinstance(failed, ConnectionFailed)
    assert failed.error_code == ErrorCode.FLOW_CONTROL_ERROR


@pytest.mark.parametrize(
    ("increment", "code"),
    [(0, ErrorCode.PROTOCOL_ERROR), (2**31 - 1, ErrorCode.FLOW_CONTROL_ERROR)],
)
def test_a_window_update_of_zero_or_past_the_maximum_resets_its_stream(
    increment: int, code: ErrorCode
) -> None:
    client = Client()
    client.open(1)
    client.open(3)
    events = client.send(wire.window_update_frame(1, increment))
    assert events == [StreamAborted(1, code, by_peer=False)]
    assert client.server.open_streams == 1


def test_window_updates_for_a_closed_stream_are_ignored() -> None:
    client = Client()
    client.open(1)
    client.send(wire.reset_frame(1, 8))
    assert client.send(wire.window_update_frame(1, 5)) == []
    assert client.answers() == []


def test_padding_counts_in_both_windows_and_is_given_back_at_once() -> None:
    client = Client(SMALL)
    client.open(1)
    for _ in range(2):
        client.data(b"\xff" + b"d" + bytes(255), flags=wire.FLAG_PADDED)
    # 257 bytes a frame on the stream, 256 of them padding and its length: 512 is past half.
    assert updates(client.answers(), 1) == [512]


def test_a_client_that_exceeds_a_streams_window_has_it_reset() -> None:
    client = Client(SMALL)
    client.open(1)
    client.data(bytes(1_000))
    events = client.data(b"x")
    assert events == [StreamAborted(1, ErrorCode.FLOW_CONTROL_ERROR, by_peer=False)]


def test_a_client_that_exceeds_the_connections_window_is_sent_away() -> None:
    client = Client(Http2Limits(stream_window=500_000, connection_window=70_000))
    client.open(1)
    (failed,) = client.send(wire.frame_header(80_000, wire.DATA, 0, 1))
    assert isinstance(failed, ConnectionFailed)
    assert failed.error_code == ErrorCode.FLOW_CONTROL_ERROR


def test_the_connections_window_is_refilled_on_receipt_the_streams_when_taken() -> None:
    client = Client(Http2Limits(stream_window=100_000, connection_window=100_000))
    client.open(1)
    client.data(bytes(60_000))
    answers = client.answers()
    assert updates(answers, 0) == [60_000]
    assert updates(answers, 1) == []
    client.server.acknowledge(1, 60_000)
    assert updates(client.answers(), 1) == [60_000]


def test_data_for_closed_streams_is_dropped_and_its_connection_credit_returned() -> None:
    client = Client(Http2Limits(stream_window=1 << 20, connection_window=100_000))
    client.open(1)
    client.server.reset_stream(1, ErrorCode.CANCEL)
    client.answers()
    for _ in range(10):
        assert client.data(bytes(50_000)) == []
        assert updates(client.answers(), 0) == [50_000]


def test_data_after_the_clients_own_reset_is_answered_once_and_credited() -> None:
    client = Client(Http2Limits(stream_window=1 << 20, connection_window=100_000))
    client.open(1)
    client.send(wire.reset_frame(1, 8))
    client.data(bytes(50_000))
    reset, update = client.answers()
    assert (reset.kind, reset.code) == (wire.RST_STREAM, ErrorCode.STREAM_CLOSED)
    assert update == Frame(wire.WINDOW_UPDATE, 0, 0, (50_000).to_bytes(4, "big"))
    client.data(bytes(50_000))
    assert updates(client.answers(), 0) == [50_000]


def test_no_credit_is_sent_for_a_stream_whose_request_has_ended() -> None:
    client = Client(SMALL)
    client.open(1)
    client.data(bytes(900), flags=wire.FLAG_END_STREAM)
    client.server.acknowledge(1, 900)
    assert updates(client.answers(), 1) == []


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("update"), st.integers(0, 3), st.integers(1, 50_000)),
            st.tuples(st.just("settings"), st.just(0), st.integers(0, 200_000)),
            st.tuples(st.just("queue"), st.sampled_from([1, 3, 5]), st.integers(1, 80_000)),
            st.tuples(st.just("write"), st.just(0), st.integers(1, 100_000)),
        ),
        max_size=40,
    )
)
def test_the_server_never_sends_past_a_window_and_always_up_to_it(
    steps: list[tuple[str, int, int]],
) -> None:
    client = Client()
    streams = (1, 3, 5)
    for stream_id in streams:
        client.open(stream_id, end_stream=True)
        client.server.send_headers(stream_id, RESPONSE, end_stream=False)
    client.answers()
    initial = connection = 65_535
    window = dict.fromkeys(streams, initial)
    queued = dict.fromkeys(streams, 0)
    for verb, which, value in steps:
        if verb == "update" and which == 0:
            connection += value
            client.send(wire.window_update_frame(0, value))
        elif verb == "update":
            stream_id = streams[which - 1]
            window[stream_id] += value
            client.send(wire.window_update_frame(stream_id, value))
        elif verb == "settings":
            for stream_id in streams:
                window[stream_id] += value - initial
            initial = value
            client.settings((4, value))
        elif verb == "queue":
            queued[which] += value
            client.server.send_data(which, [bytes(value)])
        else:
            for answer in client.answers():
                if answer.kind == wire.DATA:
                    size = len(answer.payload)
                    assert 0 < size <= 16_384
                    connection -= size
                    window[answer.stream_id] -= size
                    queued[answer.stream_id] -= size
                    assert window[answer.stream_id] >= 0
            assert connection >= 0
            for stream_id in streams:
                assert not queued[stream_id] or connection == 0 or window[stream_id] <= 0
            assert not client.server.failed


def test_a_stream_with_nothing_queued_is_named_when_its_window_opens_and_only_then() -> None:
    client = Client()
    client.settings((4, 0))
    client.open(end_stream=True)
    client.answers()
    assert client.server.output.send_window(1) == 0
    assert client.server.watch_for_window(1)
    assert client.server.take_relieved() == []
    client.send(wire.window_update_frame(1, 100))
    assert client.server.take_relieved() == [1]
    assert client.server.output.send_window(1) == 100
    assert not client.server.watch_for_window(1)
    client.send(wire.window_update_frame(1, 100))
    assert client.server.take_relieved() == []


def test_the_connections_window_bounds_what_a_stream_may_send() -> None:
    client = Client()
    client.settings((4, 1_000_000))
    responding(client, size=65_535)
    client.open(3, end_stream=True)
    assert client.server.output.send_window(3) == 65_535
    client.answers()
    assert client.server.output.send_window(3) == 0
    assert not client.server.output.window_is_open
    assert not client.server.watch_for_window(3)
    client.send(wire.window_update_frame(0, 5))
    assert client.server.output.window_is_open
    assert client.server.output.send_window(3) == 5
