"""Clients that make work without moving anything: each is sent away with a reason, in time."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable

import pytest

from ottla_broker.transport.http2 import ErrorCode, Http2Limits
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.errors import ConnectionFault
from ottla_broker.transport.http2.events import ConnectionFailed, RequestReceived
from ottla_broker.transport.http2.http2_limits import Http2Rates, Rate
from ottla_broker.transport.http2.rate_limits import TokenBucket
from ottla_broker.transport.http2.streams import Stream

from .client import REQUEST, RESPONSE, Client, frame

INDEXED_REQUEST = b"\x83\x86\x84"  # POST, http, / from the static table


def reset_pair(number: int) -> bytes:
    stream_id = 2 * number + 1
    return frame(wire.HEADERS, 4, stream_id, INDEXED_REQUEST) + wire.reset_frame(stream_id, 8)


def continuation_block(number: int) -> bytes:
    stream_id = 2 * number + 1
    block = frame(wire.HEADERS, 1, stream_id, INDEXED_REQUEST)
    return block + frame(wire.CONTINUATION, 4, stream_id, b"")


# What to send, why the connection ends, and how often it may be sent at once before: the bursts of
# `Http2Rates`, as numbers so that a bound can't be loosened unnoticed.
FLOODS: dict[str, tuple[Callable[[int], bytes], str, int]] = {
    "rapid resets": (reset_pair, "too_many_resets", 1_500),
    "pings": (lambda _: wire.ping_frame(bytes(8), ack=False), "too_many_pings", 1_000),
    "settings": (
        lambda _: wire.settings_frame([(4, 1000)]),
        "too_many_settings",
        199,
    ),  # one opened the connection
    "continuations": (continuation_block, "too_many_continuations", 200),
    "empty data": (lambda _: frame(wire.DATA, 0, 1), "too_many_empty_data_frames", 1_000),
    "padding only": (
        lambda _: frame(wire.DATA, wire.FLAG_PADDED, 1, b"\x00"),
        "too_many_empty_data_frames",
        1_000,
    ),
    "unknown frames": (lambda _: frame(0xEE, 0, 0), "too_many_frames_without_effect", 20_000),
    "priorities": (
        lambda _: frame(2, 0, 1, bytes(5)),
        "too_many_frames_without_effect",
        20_000,
    ),
    "acknowledgements": (
        lambda _: wire.ping_frame(bytes(8), ack=True),
        "too_many_frames_without_effect",
        20_000,
    ),
    "data on a closed stream": (
        lambda number: (
            b"".join([frame(wire.HEADERS, 5, 1, INDEXED_REQUEST), wire.reset_frame(1, 8)])
            if number == 0
            else frame(wire.DATA, 0, 1, b"x")
        ),
        "too_many_frames_without_effect",
        20_001,  # the first opened the stream
    ),
}


@pytest.mark.parametrize(("build", "reason", "accepted_count"), FLOODS.values(), ids=FLOODS.keys())
def test_a_flood_ends_the_connection_within_its_bound(
    build: Callable[[int], bytes], reason: str, accepted_count: int
) -> None:
    client = Client()
    if reason == "too_many_empty_data_frames":
        client.open(1)
    for number in range(50_000):
        events = client.send(build(number))
        client.output()
        if client.server.failed:
            break
    assert events[-1] == ConnectionFailed(ErrorCode.ENHANCE_YOUR_CALM, reason)
    assert number == accepted_count


def test_a_client_that_never_reads_its_ping_answers_is_sent_away() -> None:
    pings = Rate(burst=1_000_000, per_second=0)
    client = Client(Http2Limits(rates=Http2Rates(pings=pings)))
    burst = wire.ping_frame(bytes(8), ack=False) * 500
    rounds = 0
    while not client.server.failed:
        client.send(burst)
        rounds += 1
    assert rounds <= 5
    queued = sum(len(part) for part in client.output() if isinstance(part, bytes))
    assert queued < 100_000


def test_a_client_that_never_reads_its_refusals_is_sent_away() -> None:
    client = Client(Http2Limits(concurrent_streams_max=1, unread_control_frames_max=100))
    for number in range(200):
        client.send(frame(wire.HEADERS, 4, 2 * number + 1, INDEXED_REQUEST))
    assert client.server.failed


def test_pings_every_ten_seconds_are_welcome_for_ever() -> None:
    client = Client()
    for _ in range(5_000):
        client.now_ms += 10_000
        assert client.send(wire.ping_frame(b"keepaliv", ack=False)) == []
        assert len(client.answers()) == 1


def test_pings_that_measure_bandwidth_are_earned_by_what_we_send() -> None:
    client = Client()
    client.settings((4, 2**30), (5, 16_384))
    client.send(wire.window_update_frame(0, 2**30))
    client.open(1, end_stream=True)
    client.server.send_headers(1, RESPONSE, end_stream=False)
    for _ in range(5_000):
        client.server.send_data(1, [b"x" * 20_000])
        client.answers()
        client.send(wire.ping_frame(b"bandwidt", ack=False))
    assert not client.server.failed


def test_the_thousand_and_first_stream_is_refused_while_a_thousand_go_on() -> None:
    client = Client()
    for number in range(1_000):
        client.open(2 * number + 1)
    assert client.open(2_001) == []
    (refusal,) = client.answers()
    assert (refusal.kind, refusal.stream_id) == (wire.RST_STREAM, 2_001)
    assert refusal.code == ErrorCode.REFUSED_STREAM
    # What it sends before it knows is dropped; the others are served.
    assert client.data(b"x", stream_id=2_001) == []
    for number in range(1_000):
        client.server.send_headers(2 * number + 1, RESPONSE, end_stream=True)
    ended = [f.stream_id for f in client.answers() if f.kind == wire.HEADERS]
    assert ended == [2 * number + 1 for number in range(1_000)]
    assert client.open(2_003) == [RequestReceived(2_003, REQUEST, end_stream=False)]


def test_ten_thousand_streams_at_once_are_refused_one_by_one_and_the_first_served() -> None:
    client = Client()
    payload = b"".join(
        frame(wire.HEADERS, 5, 2 * number + 1, INDEXED_REQUEST) for number in range(10_000)
    )
    events = client.send(payload)
    assert len(events) == 1_000
    refused = [f for f in client.answers() if f.kind == wire.RST_STREAM]
    assert [f.code for f in refused] == [ErrorCode.REFUSED_STREAM] * 9_000
    assert not client.server.failed


def test_a_long_settings_frame_moves_the_windows_once() -> None:
    client = Client()
    client.open(1)
    client.send(wire.window_update_frame(1, 1))
    # Were each value applied to each stream, the first would take this one's window too far; and a
    # frame of ten thousand values would take seconds.
    assert client.settings(*[(4, 2**31 - 1), (4, 5)] * 5_000) == []
    client.server.send_headers(1, RESPONSE, end_stream=False)
    client.server.send_data(1, [b"0123456789"])
    # The window update counts on top.
    assert client.answers()[-1].payload == b"012345"


def kept_streams(client: Client) -> int:
    """How many streams the connection has in memory, live or not."""
    gc.collect()
    before = sum(isinstance(thing, Stream) for thing in gc.get_objects())
    client.server = Client(greet=False).server
    gc.collect()
    return before - sum(isinstance(thing, Stream) for thing in gc.get_objects())


@pytest.mark.parametrize("reads", [True, False])
def test_streams_reset_while_they_wait_to_send_are_not_kept(reads: bool) -> None:
    client = Client()
    client.settings((4, 2**30))
    client.open(1, end_stream=True)
    client.server.send_headers(1, RESPONSE, end_stream=False)
    client.server.send_data(1, [b"x" * 65_536])  # one byte more than the connection's window
    client.output()
    for number in range(1, 5_000):
        client.now_ms += 1_000
        stream_id = 2 * number + 1
        client.open(stream_id, end_stream=True)
        client.server.send_headers(stream_id, RESPONSE, end_stream=False)
        client.server.send_data(stream_id, [b"x"])
        if reads:
            client.output()
        assert client.send(wire.reset_frame(stream_id, 8)) != []
    assert not client.server.failed
    assert kept_streams(client) < 1_500


def calls_of(work: Callable[[], object]) -> int:
    """How many functions are called on the way: a measure of work that no machine changes."""
    count = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def test_a_byte_of_window_costs_no_more_when_a_thousand_streams_wait_for_it() -> None:
    client = Client()
    client.open(1)
    client.server.send_headers(1, RESPONSE, end_stream=False)
    client.server.send_data(1, [b"x" * 65_535])  # the whole of the connection's window
    waiting = range(3, 2_000, 2)
    for stream_id in waiting:
        client.open(stream_id, end_stream=True)
        client.server.send_headers(stream_id, RESPONSE, end_stream=False)
        client.server.send_data(stream_id, [b"xy"])
    client.output()

    def open_and_send() -> None:
        client.send(wire.window_update_frame(0, 1))
        assert len(client.output()) == 1

    assert calls_of(open_and_send) < 100
    # Nobody is forgotten for it: all get their share once there is room.
    client.send(wire.window_update_frame(0, 2 * len(waiting) - 1))
    sent = [(frame.stream_id, frame.payload) for frame in client.answers()]
    assert sorted(sent) == [(3, b"y"), *((stream_id, b"xy") for stream_id in waiting[1:])]


def test_a_chain_of_continuations_is_bounded_in_number_and_size() -> None:
    client = Client()
    client.send(frame(wire.HEADERS, 0, 1, b"\x83"))
    count = 0
    while not client.server.failed:
        client.send(frame(wire.CONTINUATION, 0, 1, b""))
        count += 1
    assert count == Http2Limits().continuation_frames_max

    client = Client()
    client.send(frame(wire.HEADERS, 0, 1, b"\x83"))
    size = 0
    while not client.server.failed:
        client.send(frame(wire.CONTINUATION, 0, 1, b"\x00" * 10_000))
        size += 10_000
    assert size <= Http2Limits().header_block_size_max + 10_000
    assert client.answers()[-1].code == ErrorCode.ENHANCE_YOUR_CALM


def test_a_header_list_above_the_limit_is_refused_on_its_stream() -> None:
    client = Client()
    client.open(1)
    headers = [*REQUEST, (b"big", b"v" * 17_000)]
    assert client.send(client.headers(headers, stream_id=3)) == []
    (reset,) = client.answers()
    assert (reset.stream_id, reset.code) == (3, ErrorCode.ENHANCE_YOUR_CALM)
    assert client.open(5) == [RequestReceived(5, REQUEST, end_stream=False)]


def test_a_small_block_that_inflates_to_a_huge_list_ends_the_connection() -> None:
    client = Client()
    client.send(client.headers([*REQUEST, (b"big", b"v" * 3_900)]))
    # The entry is in the dynamic table now: one byte repeats four kilobytes.
    client.send(frame(wire.HEADERS, 5, 3, b"\xbe" * 1_000))
    goaway = client.answers()[-1]
    assert (goaway.kind, goaway.code) == (wire.GOAWAY, ErrorCode.ENHANCE_YOUR_CALM)
    assert goaway.payload[8:] == b"header_list_too_large"


def test_a_bucket_refills_with_time_up_to_its_burst() -> None:
    bucket = TokenBucket(Rate(burst=2, per_second=1), reason="too_many")
    bucket.take(0)
    bucket.take(0)
    with pytest.raises(ConnectionFault, match="too_many"):
        bucket.take(999)
    bucket.take(1_999)
    bucket.take(100_000)
    bucket.take(100_000)
    with pytest.raises(ConnectionFault):
        bucket.take(100_000)
    bucket.give(1)
    bucket.take(100_000)
