"""Clients that break the rules or take what they do not give back: each gets a clear refusal,
and whoever behaves is served all the while.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from unit.transport_http2.client import RESPONSE, TRAILERS, frame

from ottla_broker.transport.http2 import ErrorCode, Http2Limits
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.http2_limits import Http2Rates, Rate
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.stream import (
    GrpcStream,
    MalformedMessage,
    MessageTooLarge,
    TruncatedMessage,
)

from .context import Server, WireClient, serving, until

INDEXED_REQUEST = b"\x83\x86\x84"  # POST, http, / from the static table


async def assert_serves(port: int) -> None:
    """A client that behaves gets its answer."""
    client = await WireClient.connect(port)
    client.open(1, b"/echo", payload=b"hello")
    assert await client.until_end_of(1) == b"\0\0\0\0\x05hello"
    await client.close()


async def until_gone(server: Server, *, left: int = 0) -> None:
    await until(lambda: server.listener.connection_count <= left)


def lines_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "transport" in record.name]


@pytest.mark.parametrize(
    "opening",
    [b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc"],
    ids=["HTTP/1", "TLS"],
)
async def test_other_protocols_on_the_plaintext_port_are_closed_with_one_line(
    opening: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving() as server:
        port = server.listen()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(opening)
        assert await reader.read() == b""
        writer.close()
        await until_gone(server)
        await assert_serves(port)
    (line,) = lines_of(caplog)
    assert line.startswith("connection.refused peer=ipv4:127.0.0.1:")
    assert line.endswith("reason=not_http2")


async def test_a_client_that_never_reads_holds_a_bounded_queue_and_is_closed_in_time() -> None:
    accepted = 0

    async def pour(stream: GrpcStream) -> None:
        nonlocal accepted
        await stream.send_headers(RESPONSE)
        while True:
            await stream.send_message([bytes(100_000)])
            accepted += 1

    limits = TransportLimits(connection_queue_size_max=2 << 20)
    async with serving(limits) as server:
        server.handlers[b"/pour"] = pour
        port = server.listen()
        client = await WireClient.connect(port, settings=[(4, 2**31 - 1)])
        client.stop_reading()
        client.send(wire.window_update_frame(0, 2**30))
        for number in range(20):
            client.open(2 * number + 1, b"/pour", payload=b"")
        await client.writer.drain()
        # Until nobody gets anything in any more.
        before = -1
        while before != accepted or not accepted:
            before = accepted
            for _ in range(1_000):
                await asyncio.sleep(0)
        assert server.listener.memory_used <= (2 << 20) + 20 * 100_005
        await assert_serves(port)
        server.pass_time(limits.write_timeout_ms - 1)
        assert server.listener.stream_count == 20
        server.pass_time(limits.keepalive_idle_ms + limits.write_timeout_ms)
        await until_gone(server)
        assert server.listener.memory_used == 0
        await client.close()
    assert server.resets == [ErrorCode.CANCEL] * 20


async def test_streams_crowded_out_of_the_connections_memory_get_their_turn() -> None:
    async def answer(stream: GrpcStream) -> None:
        await stream.receive()
        await stream.send_headers(RESPONSE)
        for _ in range(3):
            await stream.send_message([bytes(99_995)])
        await stream.send_trailers(TRAILERS)

    limits = TransportLimits(connection_queue_size_max=150_000, connection_memory_max=400_000)
    async with serving(limits) as server:
        server.handlers[b"/answer"] = answer
        port = server.listen()
        client = await WireClient.connect(port, settings=[(4, 0)])
        streams = [2 * number + 1 for number in range(20)]
        for stream_id in streams:
            client.open(stream_id, b"/answer", payload=b"")
        client.send(wire.ping_frame(b"all here", ack=False))
        await client.until(wire.PING)
        # All windows are shut. Four first messages are in; everybody else waits.
        assert server.listener.memory_used == 400_000
        client.send(wire.window_update_frame(0, 2**30))
        for stream_id in streams:
            client.send(wire.window_update_frame(stream_id, 2**20))
        for stream_id in streams:
            assert len(await client.until_end_of(stream_id)) == 300_000
        assert server.listener.memory_used == 0
        await client.close()


async def test_a_stream_whose_window_stays_shut_does_not_hold_up_others_and_is_ended_in_time() -> (
    None
):
    async def pour(stream: GrpcStream) -> None:
        await stream.send_headers(RESPONSE)
        while True:
            await stream.send_message([bytes(100_000)])

    limits = TransportLimits(connection_queue_size_max=150_000, connection_age_max_ms=1 << 40)
    async with serving(limits) as server:
        server.handlers[b"/pour"] = pour
        port = server.listen()
        client = await WireClient.connect(port, settings=[(4, 100)])
        client.gives_credit = False
        client.open(1, b"/pour", payload=b"")
        assert len((await client.until(wire.DATA)).payload) == 100
        client.open(3, b"/echo", payload=b"swift")
        assert await client.until_end_of(3) == b"\0\0\0\0\x05swift"
        stalled_ms = 0
        while server.listener.stream_count:
            server.pass_time(20_000)
            stalled_ms += 20_000
            client.send(wire.ping_frame(b"i'm here", ack=False))
            await client.until(wire.PING)
        assert 0 <= stalled_ms - limits.stream_stall_timeout_ms <= 40_000
        assert client.resets == {1: ErrorCode.CANCEL}
        await client.close()


async def stalled_for(limits: TransportLimits, *, kept_size: int) -> int:
    """How long a paused client's stream lives, in ms, that has `kept_size` bytes queued."""

    async def one_message(stream: GrpcStream) -> None:
        await stream.send_headers(RESPONSE)
        await stream.send_message([bytes(100 + kept_size - 5)])
        await stream.receive()

    async with serving(limits) as server:
        server.handlers[b"/one"] = one_message
        port = server.listen()
        client = await WireClient.connect(port, settings=[(4, 100)])
        client.gives_credit = False
        client.open(1, b"/one")
        await client.until(wire.DATA)
        assert server.listener.memory_used == kept_size
        stalled_ms = 0
        while server.listener.stream_count:
            server.pass_time(20_000)
            stalled_ms += 20_000
            client.send(wire.ping_frame(b"i'm here", ack=False))
            await client.until(wire.PING)
        assert client.resets == {1: ErrorCode.CANCEL}
        assert server.listener.memory_used == 0
        await client.close()
    return stalled_ms


async def test_a_paused_client_keeps_its_stream_for_long_unless_memory_is_short() -> None:
    limits = TransportLimits(memory_max=1_000_000, connection_age_max_ms=1 << 40)
    long_ms, short_ms = limits.stream_stall_timeout_ms, limits.stream_stall_pressed_timeout_ms
    assert (long_ms, short_ms) == (3_600_000, 60_000)
    assert 0 <= await stalled_for(limits, kept_size=499_999) - long_ms <= 40_000
    assert 0 <= await stalled_for(limits, kept_size=500_000) - short_ms <= 40_000
    own = replace(limits, memory_max=1 << 30, connection_memory_max=1_000_000)
    assert 0 <= await stalled_for(own, kept_size=500_000) - short_ms <= 40_000


async def test_a_header_block_that_trickles_in_is_cut_off_in_the_end() -> None:
    limits = TransportLimits()
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        client.send(wire.frame_header(60_000, wire.HEADERS, 4, 1))
        await client.until(wire.SETTINGS)
        for _ in range(3):
            # What was sent before has been read when a client that comes later is served.
            client.send(b"x")
            await assert_serves(port)
            await until_gone(server, left=1)
            server.pass_time(limits.frame_timeout_ms // 3)
        assert (await client.until(wire.GOAWAY)).payload[8:] == b"half_a_frame"
        await client.close()
        await assert_serves(port)


async def test_a_client_that_never_reads_but_keeps_asking_is_sent_away(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pings = Rate(burst=10_000_000, per_second=0)
    limits = TransportLimits(http2=Http2Limits(rates=Http2Rates(pings=pings)))
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port, receive_buffer=4_096)
        client.stop_reading()
        burst = wire.ping_frame(bytes(8), ack=False) * 1_000
        # The server answers for a while, gives the client up, and soon reads no more.
        while not client.writer.is_closing() and (
            client.writer.transport.get_write_buffer_size() < 1 << 20
        ):
            client.send(burst)
            await asyncio.sleep(0)
        assert [line.split("reason=")[1] for line in lines_of(caplog)] == [
            "too_many_unread_answers"
        ]
        await assert_serves(port)
        server.pass_time(0)
        server.pass_time(limits.linger_timeout_ms)
        await until_gone(server)
        client.writer.transport.abort()


async def test_ten_thousand_streams_get_a_thousand_served_and_the_rest_refused() -> None:
    async with serving() as server:
        server.handlers[b"/"] = server.handlers[b"/count"]
        port = server.listen()
        client = await WireClient.connect(port)
        for number in range(10_000):
            client.send(frame(wire.HEADERS, 4, 2 * number + 1, INDEXED_REQUEST))
        refused = [await client.until(wire.RST_STREAM) for _ in range(9_000)]
        assert {answer.code for answer in refused} == {ErrorCode.REFUSED_STREAM}
        assert [answer.stream_id for answer in refused] == list(range(2_001, 20_001, 2))
        assert server.listener.stream_count == 1_000
        await assert_serves(port)
        client.send(frame(wire.DATA, wire.FLAG_END_STREAM, 1_999))
        assert await client.until_end_of(1_999) == b"\0\0\0\0\x030 0"
        await client.close()


async def test_half_messages_cost_what_they_send_and_time_out() -> None:
    limits = TransportLimits()
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        prefix = b"\0" + (4 << 20).to_bytes(4, "big")
        for number in range(100):
            client.open(2 * number + 1, b"/count")
            client.send(frame(wire.DATA, 0, 2 * number + 1, prefix))
        client.send(wire.ping_frame(b"all here", ack=False))
        await client.until(wire.PING)
        assert server.listener.memory_used == 0
        for number in range(100):
            client.send(frame(wire.DATA, 0, 2 * number + 1, b"some"))
        client.send(wire.ping_frame(b"all here", ack=False))
        await client.until(wire.PING)
        assert server.listener.memory_used == 100 * 64 * 1024
        server.pass_time(limits.message_idle_timeout_ms - 1)
        assert server.listener.stream_count == 100
        server.pass_time(1)
        resets = [await client.until(wire.RST_STREAM) for _ in range(100)]
        assert {reset.code for reset in resets} == {ErrorCode.CANCEL}
        assert server.listener.memory_used == 0
        # The connection itself has done nothing wrong.
        client.open(201, b"/echo", payload=b"hello")
        assert await client.until_end_of(201) == b"\0\0\0\0\x05hello"
        await client.close()
    assert server.resets == [ErrorCode.CANCEL] * 100


async def test_a_message_that_trickles_in_is_cut_off_in_the_end() -> None:
    limits = TransportLimits()
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/count")
        client.send(frame(wire.DATA, 0, 1, b"\0\0\0\xff\xff"))
        passed_ms = 0
        while server.listener.stream_count or not passed_ms:
            client.send(frame(wire.DATA, 0, 1, b"x") + wire.ping_frame(bytes(8), ack=False))
            await client.until(wire.PING)
            passed_ms += 20_000
            server.pass_time(20_000)
        assert limits.message_timeout_ms <= passed_ms <= limits.message_timeout_ms + 20_000
        assert (await client.until(wire.RST_STREAM)).code == ErrorCode.CANCEL
        await client.close()


async def test_messages_beyond_the_memory_budget_are_refused_and_the_others_served() -> None:
    limits = TransportLimits(memory_max=2 << 20, connection_memory_max=1 << 20)
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        half = b"\0" + (4 << 20).to_bytes(4, "big") + bytes(50_000)
        for number in range(20):
            client.open(2 * number + 1, b"/count")
            client.send(frame(wire.DATA, 0, 2 * number + 1, half[:16_384]))
        resets = [await client.until(wire.RST_STREAM) for _ in range(4)]
        assert {reset.code for reset in resets} == {ErrorCode.ENHANCE_YOUR_CALM}
        assert server.listener.memory_used == 1 << 20
        await assert_serves(port)
        await client.close()
        await until_gone(server)
        assert server.listener.memory_used == 0


async def test_messages_nobody_takes_hold_the_client_back_at_its_window() -> None:
    taking = asyncio.Event()

    async def late(stream: GrpcStream) -> None:
        await taking.wait()
        total = 0
        while (message := await stream.receive()) is not None:
            total += len(message.payload)
        await stream.send_headers(RESPONSE)
        await stream.send_message([b"%d" % total])
        await stream.send_trailers(TRAILERS)

    http2 = replace(Http2Limits(), stream_window=100_000)
    async with serving(TransportLimits(http2=http2)) as server:
        server.handlers[b"/late"] = late
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/late")
        message = b"\0" + (9_995).to_bytes(4, "big") + bytes(9_995)
        for _ in range(10):
            client.send(frame(wire.DATA, 0, 1, message))
        client.send(wire.ping_frame(b"12345678", ack=False))
        await client.until(wire.PING)
        assert server.listener.memory_used == 10 * 9_995
        taking.set()
        update = await client.until(wire.WINDOW_UPDATE, stream_id=1)
        assert 50_000 <= update.number <= 100_000
        client.send(frame(wire.DATA, wire.FLAG_END_STREAM, 1, message))
        assert await client.until_end_of(1) == b"\0\0\0\0\x06" + b"109945"
        await client.close()


async def test_a_message_larger_than_the_window_arrives() -> None:
    http2 = replace(Http2Limits(), stream_window=20_000)
    async with serving(TransportLimits(http2=http2)) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/count")
        payload = b"\0" + (1 << 20).to_bytes(4, "big") + bytes(1 << 20)
        window = 20_000
        while payload:
            piece, payload = payload[:window], payload[window:]
            window -= len(piece)
            client.send(frame(wire.DATA, 0 if payload else wire.FLAG_END_STREAM, 1, piece))
            while payload and not window:
                window += (await client.until(wire.WINDOW_UPDATE, stream_id=1)).number
        assert (await client.until_end_of(1))[5:] == b"1 1048576"
        await client.close()


async def test_a_message_too_large_or_cut_short_is_told_to_its_handler() -> None:
    errors: list[Exception] = []

    async def picky(stream: GrpcStream) -> None:
        try:
            await stream.receive()
        except (MalformedMessage, MessageTooLarge, TruncatedMessage) as error:
            errors.append(error)
        await stream.send_headers(RESPONSE)
        await stream.send_trailers(TRAILERS)

    async with serving(TransportLimits(message_size_max=1_000)) as server:
        server.handlers[b"/picky"] = picky
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/picky")
        client.send(frame(wire.DATA, 0, 1, b"\0\0\0\x03\xe9" + bytes(1_001)))
        await client.until_end_of(1)
        client.open(3, b"/picky")
        client.send(frame(wire.DATA, wire.FLAG_END_STREAM, 3, b"\0\0\0\0\x05four"))
        await client.until_end_of(3)
        client.open(5, b"/picky")
        client.send(frame(wire.DATA, 0, 5, b"\x07\0\0\0\x05fives"))
        await client.until_end_of(5)
        await client.close()
    assert [type(error) for error in errors] == [
        MessageTooLarge,
        TruncatedMessage,
        MalformedMessage,
    ]
    assert server.resets == []


async def test_a_client_that_says_nothing_or_half_a_frame_is_closed_in_time() -> None:
    limits = TransportLimits()
    async with serving(limits) as server:
        port = server.listen()
        silent_reader, silent_writer = await asyncio.open_connection("127.0.0.1", port)
        half = await WireClient.connect(port)
        half.send(wire.frame_header(100, wire.HEADERS, 4, 1))
        half.send(b"only this")
        await half.until(wire.SETTINGS)
        await until(lambda: server.listener.connection_count == 2)
        server.pass_time(limits.handshake_timeout_ms)
        assert await silent_reader.read() == b""
        silent_writer.close()
        server.pass_time(limits.frame_timeout_ms)
        assert (await half.until(wire.GOAWAY)).payload[8:] == b"half_a_frame"
        await half.close()
        await assert_serves(port)


async def test_more_connections_than_allowed_are_closed_at_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving(TransportLimits(connections_max=2)) as server:
        port = server.listen()
        clients = [await WireClient.connect(port) for _ in range(2)]
        for client in clients:
            await client.until(wire.SETTINGS)
        third = await WireClient.connect(port)
        assert await third.until_closed() == []
        await third.close()
        await clients[0].close()
        await until_gone(server, left=1)
        await assert_serves(port)
        await clients[1].close()
    assert [line.split("reason=")[1] for line in lines_of(caplog)] == ["too many connections"]


async def test_a_handler_that_cannot_start_fails_its_stream_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with serving() as server:
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/there is no such handler")
        assert (await client.until(wire.RST_STREAM)).code == ErrorCode.INTERNAL_ERROR
        client.open(3, b"/echo", payload=b"x")
        assert await client.until_end_of(3) == b"\0\0\0\0\x01x"
        await client.close()
    assert [line.split(" ")[0] for line in lines_of(caplog)] == ["stream.failed"]
