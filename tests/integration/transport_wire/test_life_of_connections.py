"""Connections over time: keepalive, age, draining, closing; addresses, TLS and who the peer is."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from unit.transport_http2.client import RESPONSE, TRAILERS

from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.stream import GrpcStream

from .context import CERTIFICATES, WireClient, client_tls, server_tls, serving, until


async def test_a_drain_lets_ten_streams_of_a_stock_client_finish() -> None:
    release = asyncio.Event()

    async def waiting(stream: GrpcStream) -> None:
        await stream.receive()
        await stream.send_headers(RESPONSE)
        await release.wait()
        await stream.send_message([b"done"])
        await stream.send_trailers(TRAILERS)

    async with serving() as server:
        server.handlers[b"/wait/Wait"] = waiting
        port = server.listen()
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            wait: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]
            wait = channel.unary_unary("/wait/Wait")
            calls = [wait(b"go") for _ in range(10)]
            await until(lambda: server.listener.stream_count == 10)
            server.listener.drain()
            release.set()
            assert await asyncio.gather(*calls) == [b"done"] * 10
            assert [await call.code() for call in calls] == [grpc.StatusCode.OK] * 10
            await until(lambda: not server.listener.connection_count)


async def test_a_drain_is_two_goaways_around_a_ping_and_then_the_end() -> None:
    async with serving() as server:
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/echo")
        await client.until(wire.HEADERS)
        server.listener.drain()
        assert (await client.until(wire.GOAWAY)).number == 2**31 - 1
        ping = await client.until(wire.PING)
        client.send(wire.ping_frame(ping.payload, ack=True))
        assert (await client.until(wire.GOAWAY)).number == 1
        client.open(3, b"/echo")
        assert (await client.until(wire.RST_STREAM)).code == ErrorCode.REFUSED_STREAM
        client.send_message(1, b"bye", end=True)
        assert await client.until_end_of(1) == b"\0\0\0\0\x03bye"
        assert await client.until_closed() == []
        await client.close()


async def test_a_drain_does_not_wait_for_ever_for_the_answer_to_its_ping() -> None:
    limits = TransportLimits()
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        await client.until(wire.SETTINGS)
        server.listener.drain()
        await client.until(wire.PING)
        server.pass_time(limits.drain_ping_timeout_ms)
        assert (await client.until(wire.GOAWAY)).number == 0
        assert await client.until_closed() == []
        await client.close()


async def test_closing_with_a_grace_ends_what_does_not_finish_in_time() -> None:
    async with serving() as server:
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/echo")
        await client.until(wire.HEADERS)
        await server.listener.close(0.01)
        answers = await client.until_closed()
        assert [answer.kind for answer in answers] == [wire.GOAWAY, wire.PING, wire.GOAWAY]
        await client.close()
    assert server.resets == [ErrorCode.NO_ERROR]


async def test_the_clients_goaway_ends_the_connection_after_its_streams() -> None:
    async with serving() as server:
        port = server.listen()
        client = await WireClient.connect(port)
        client.open(1, b"/echo")
        client.send(wire.goaway_frame(0, ErrorCode.NO_ERROR))
        client.send_message(1, b"last", end=True)
        assert await client.until_end_of(1) == b"\0\0\0\0\x04last"
        assert await client.until_closed() == []
        await client.close()


async def test_an_idle_client_is_pinged_and_closed_when_it_does_not_answer() -> None:
    limits = TransportLimits()
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        await client.until(wire.SETTINGS)
        server.pass_time(0)
        server.pass_time(limits.keepalive_idle_ms)
        ping = await client.until(wire.PING)
        client.send(wire.ping_frame(ping.payload, ack=True))
        client.send(wire.ping_frame(b"and mine", ack=False))
        assert (await client.until(wire.PING)).payload == b"and mine"
        server.pass_time(limits.keepalive_timeout_ms)
        assert server.listener.connection_count == 1
        server.pass_time(limits.keepalive_idle_ms)
        await client.until(wire.PING)
        server.pass_time(limits.keepalive_timeout_ms)
        assert await client.until_closed() == []
        await client.close()


async def test_a_client_that_pings_every_ten_seconds_without_calls_stays_for_minutes() -> None:
    async with serving() as server:
        port = server.listen()
        client = await WireClient.connect(port)
        for _ in range(30):
            server.pass_time(10_000)
            client.send(wire.ping_frame(b"keepaliv", ack=False))
            while True:
                answer = await client.read()
                assert answer is not None
                assert answer.kind != wire.GOAWAY
                if answer.kind == wire.PING:
                    assert answer.payload == b"keepaliv"
                    break
        await client.close()


async def test_a_connection_of_thirty_minutes_is_drained_at_an_age_with_jitter() -> None:
    limits = TransportLimits()
    low, high = limits.connection_age_max_ms * 0.9, limits.connection_age_max_ms * 1.1
    async with serving(limits) as server:
        port = server.listen()
        client = await WireClient.connect(port)
        await client.until(wire.SETTINGS)
        age_ms = 0
        while server.listener.connection_count and age_ms < high + 20_000:
            server.pass_time(10_000)
            age_ms += 10_000
            client.send(wire.ping_frame(b"keepaliv", ack=False))
            answer = await client.read()
            while answer is not None and answer.kind not in {wire.PING, wire.GOAWAY}:
                answer = await client.read()
            if answer is not None and answer.kind == wire.GOAWAY:
                break
        assert low <= age_ms <= high + 10_000
        assert answer is not None
        assert answer.number == 2**31 - 1
        await client.close()


@pytest.mark.parametrize(
    ("host", "address", "peer"),
    [("127.0.0.1", "127.0.0.1:0", "ipv4:127.0.0.1:"), ("::1", "[::1]:0", "ipv6:%5B::1%5D:")],
)
async def test_the_peer_is_named_as_grpc_names_it(host: str, address: str, peer: str) -> None:
    async with serving() as server:
        port = server.listen(address)
        reader, writer = await asyncio.open_connection(host, port)
        client = WireClient(reader, writer)
        client.send(wire.PREFACE + wire.settings_frame([]))
        client.open(1, b"/echo", payload=b"")
        await client.until_end_of(1)
        own = writer.get_extra_info("sockname")[1]
        assert server.streams[0].peer == f"{peer}{own}"
        assert server.streams[0].auth_context == {}
        await client.close()


async def test_tls_carries_what_the_clients_certificate_says() -> None:
    context = server_tls()
    context.verify_mode = context.verify_mode.CERT_REQUIRED
    async with serving() as server:
        port = server.listen(tls=context)
        tls = client_tls()
        tls.load_cert_chain(CERTIFICATES / "client.pem", CERTIFICATES / "client.key")
        client = await WireClient.connect(port, tls=tls)
        client.open(1, b"/echo", payload=b"x" * 300_000)
        assert (await client.until_end_of(1))[5:] == b"x" * 300_000
        auth = server.streams[0].auth_context
        assert auth["transport_security_type"] == [b"ssl"]
        assert auth["x509_common_name"] == [b"ottla-test-client"]
        assert auth["x509_subject_alternative_name"] == [b"ottla-test-client"]
        assert auth["x509_pem_cert"][0].startswith(b"-----BEGIN CERTIFICATE-----")
        await client.close()


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
async def test_stock_clients_echo_messages_of_every_size(*, tls: bool) -> None:
    async with serving() as server:
        server.handlers[b"/echo/Echo"] = server.handlers[b"/echo"]
        port = server.listen(tls=server_tls() if tls else None)
        if tls:
            trusted = await asyncio.to_thread((CERTIFICATES / "ca.pem").read_bytes)
            credentials = grpc.ssl_channel_credentials(trusted)
            channel = grpc.aio.secure_channel(f"localhost:{port}", credentials)
        else:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        sizes = [0, 1, 100, 16_379, 16_384, 65_536, 1 << 20, (4 << 20) - 10]
        async with channel:
            echo: grpc.aio.StreamStreamMultiCallable[bytes, bytes]
            echo = channel.stream_stream("/echo/Echo")
            call = echo()
            for size in sizes:
                await call.write(b"%c" % (size % 251) * size)
                assert await call.read() == b"%c" % (size % 251) * size
            await call.done_writing()
            assert await call.code() == grpc.StatusCode.OK
        assert server.listener.memory_used == 0
