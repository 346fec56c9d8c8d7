"""File ranges on real sockets: large and small frames, plaintext and TLS, cold and truncated."""

from __future__ import annotations

import asyncio
import os
import random
import ssl
from pathlib import Path

import grpc
import pytest
from unit.transport_http2.client import RESPONSE, TRAILERS

from ottla_broker.transport.http2 import ErrorCode
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.settings import INITIAL_WINDOW_SIZE, MAX_FRAME_SIZE
from ottla_broker.transport.stream import EncodedMessage, GrpcStream, StreamReset

from .context import (
    CERTIFICATES,
    Handler,
    OpenFile,
    Server,
    WireClient,
    client_tls,
    server_tls,
    serving,
    until,
)

MIB = 1 << 20
CONTENT = random.Random(7).randbytes(5 * MIB // 2)
LARGE = ((INITIAL_WINDOW_SIZE, 2**30), (MAX_FRAME_SIZE, 4 * MIB))
SMALL = ((INITIAL_WINDOW_SIZE, 65_535),)


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "segment"
    path.write_bytes(CONTENT)
    return path


def fetch(file: OpenFile, *, messages: int, position: int, size: int) -> Handler:
    """Sends the same range many times, behind two bytes of fields."""

    async def handler(stream: GrpcStream) -> None:
        await stream.receive()
        await stream.send_headers(RESPONSE)
        for _ in range(messages):
            message = EncodedMessage([b"\x0a\x01", file.range(position, size), b"end"])
            await stream.send_message(message.parts)
        await stream.send_trailers(TRAILERS)

    return handler


async def connect(
    server: Server, *, tls: bool, settings: tuple[tuple[int, int], ...]
) -> WireClient:
    port = server.listen(tls=server_tls() if tls else None)
    client = await WireClient.connect(port, tls=client_tls() if tls else None, settings=settings)
    if settings is LARGE:
        client.send(wire.window_update_frame(0, 2**30))
    return client


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
@pytest.mark.parametrize("settings", [LARGE, SMALL], ids=["large frames", "small frames"])
@pytest.mark.parametrize("size", [2 * MIB + 77_777, 40_000, 1])
async def test_file_bytes_arrive_as_they_are(
    segment: Path, *, tls: bool, settings: tuple[tuple[int, int], ...], size: int
) -> None:
    file = OpenFile(segment)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=3, position=1_234, size=size)
        client = await connect(server, tls=tls, settings=settings)
        client.open(1, b"/fetch", payload=b"")
        received = await client.until_end_of(1)
        await client.close()
    body = b"\x0a\x01" + CONTENT[1_234 : 1_234 + size] + b"end"
    assert received == (b"\0" + len(body).to_bytes(4, "big") + body) * 3
    assert file.holders == 1
    file.release()


async def test_a_large_range_leaves_in_frames_as_large_as_the_client_takes(segment: Path) -> None:
    file = OpenFile(segment)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=1, position=0, size=MIB)
        client = await connect(server, tls=False, settings=LARGE)
        client.open(1, b"/fetch", payload=b"")
        first = await client.until(wire.DATA)
        assert len(first.payload) == 5 + 2 + MIB + 3
        await client.until_end_of(1)
        await client.close()
    file.release()


@pytest.mark.parametrize(
    ("tls", "settings", "by_kernel"),
    [(False, LARGE, True), (False, SMALL, False), (True, LARGE, False)],
    ids=["plaintext", "small frames", "TLS"],
)
async def test_the_kernel_copies_what_leaves_in_large_frames_in_the_clear(
    segment: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    tls: bool,
    settings: tuple[tuple[int, int], ...],
    by_kernel: bool,
) -> None:
    file, sizes, sendfile = OpenFile(segment), [0], os.sendfile

    def counted(out: int, source: int, position: int, size: int) -> int:
        sizes.append(sendfile(out, source, position, size))
        return sizes[-1]

    monkeypatch.setattr(os, "sendfile", counted)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=2, position=0, size=MIB)
        client = await connect(server, tls=tls, settings=settings)
        client.open(1, b"/fetch", payload=b"")
        await client.until_end_of(1)
        await client.close()
    assert sum(sizes) == (2 * MIB if by_kernel else 0)
    file.release()


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
async def test_stock_clients_read_many_streams_of_file_bytes_at_once(
    segment: Path, *, tls: bool
) -> None:
    file = OpenFile(segment)
    async with serving() as server:
        server.handlers[b"/fetch/Fetch"] = fetch(file, messages=10, position=0, size=MIB)
        port = server.listen(tls=server_tls() if tls else None)
        if tls:
            trusted = await asyncio.to_thread((CERTIFICATES / "ca.pem").read_bytes)
            channel = grpc.aio.secure_channel(
                f"localhost:{port}", grpc.ssl_channel_credentials(trusted)
            )
        else:
            channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        expected = b"\x0a\x01" + CONTENT[:MIB] + b"end"

        async def read_all() -> int:
            messages = 0
            fetch_all: grpc.aio.UnaryStreamMultiCallable[bytes, bytes]
            fetch_all = channel.unary_stream("/fetch/Fetch")
            async for message in fetch_all(b"go"):
                assert message == expected
                messages += 1
            return messages

        async with channel:
            assert await asyncio.gather(*(read_all() for _ in range(4))) == [10] * 4
    assert file.holders == 1
    file.release()


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
@pytest.mark.parametrize("settings", [LARGE, SMALL], ids=["large frames", "small frames"])
async def test_a_truncated_file_closes_its_connection_and_no_other(
    segment: Path,
    *,
    tls: bool,
    settings: tuple[tuple[int, int], ...],
    caplog: pytest.LogCaptureFixture,
) -> None:
    file = OpenFile(segment)
    size = len(CONTENT)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=1, position=size - 5_000, size=100_000)
        client = await connect(server, tls=tls, settings=settings)
        port = server.listen()
        other = await WireClient.connect(port)
        client.open(1, b"/fetch", payload=b"")
        answers = await client.until_closed()
        await client.close()
        # No trailers: the client cannot take it for an answer.
        assert [
            a for a in answers if a.kind == wire.HEADERS and a.flags & wire.FLAG_END_STREAM
        ] == []
        other.open(1, b"/echo", payload=b"still here")
        assert await other.until_end_of(1) == b"\0\0\0\0\x0astill here"
        await other.close()
    assert file.holders == 1
    assert [r.levelname for r in caplog.records if "connection.broken" in r.message] == ["ERROR"]
    file.release()


async def test_files_are_let_go_when_the_client_resets_disconnects_or_stops_reading(
    segment: Path,
) -> None:
    file = OpenFile(segment)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=100, position=0, size=MIB)
        client = await connect(server, tls=False, settings=SMALL)
        for stream_id in (1, 3, 5):
            client.open(stream_id, b"/fetch", payload=b"")
        await client.until(wire.DATA)
        client.send(wire.reset_frame(1, 8))
        await client.until(wire.DATA)
        assert file.holders > 1
        await client.close()
        await until(lambda: not server.listener.connection_count)
        assert server.listener.memory_used == 0
    assert sorted(server.resets) == [8, 8, 8]
    assert file.holders == 1
    file.release()


@pytest.mark.parametrize("tls", [False, True], ids=["plaintext", "TLS"])
async def test_a_file_that_cannot_be_read_costs_its_stream_alone(
    segment: Path, tmp_path: Path, *, tls: bool
) -> None:
    file, folder = OpenFile(segment), OpenFile(tmp_path)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=3, position=0, size=100_000)
        server.handlers[b"/broken"] = fetch(folder, messages=3, position=0, size=100_000)
        client = await connect(server, tls=tls, settings=LARGE)
        client.open(1, b"/fetch", payload=b"")
        client.open(3, b"/broken", payload=b"")
        await client.until(wire.RST_STREAM, stream_id=3)
        client.open(5, b"/fetch", payload=b"")
        assert len(await client.until_end_of(5)) == 3 * (5 + 2 + 100_000 + 3)
        assert client.resets == {3: ErrorCode.INTERNAL_ERROR}
        await client.close()
    assert (file.holders, folder.holders) == (1, 1)
    file.release()
    folder.release()


async def test_a_file_that_breaks_the_code_that_sends_it_closes_its_connection_alone(
    segment: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Fickle(OpenFile):
        questions = 0

        def fileno(self) -> int:
            self.questions += 1
            if self.questions > 1:
                raise LookupError("it was here a moment ago")
            return super().fileno()

    file, fickle = OpenFile(segment), Fickle(segment)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=1, position=0, size=100_000)
        server.handlers[b"/fickle"] = fetch(fickle, messages=3, position=0, size=100_000)
        unlucky = await connect(server, tls=False, settings=LARGE)
        unlucky.open(1, b"/fickle", payload=b"")
        await unlucky.until_closed()
        await unlucky.close()
        assert (server.listener.connection_count, server.listener.memory_used) == (0, 0)
        client = await connect(server, tls=False, settings=LARGE)
        client.open(1, b"/fetch", payload=b"")
        assert len(await client.until_end_of(1)) == 5 + 2 + 100_000 + 3
        await client.close()
    assert "a moment ago" in caplog.text
    assert (file.holders, fickle.holders) == (1, 1)
    file.release()
    fickle.release()


@pytest.mark.parametrize("waiting", [False, True])
async def test_a_stream_that_is_over_takes_a_messages_files_and_lets_them_go(
    segment: Path, *, waiting: bool
) -> None:
    file = OpenFile(segment)
    outcomes: list[object] = []

    async def late(stream: GrpcStream) -> None:
        over = asyncio.Event()
        stream.add_done_callback(lambda _: over.set())
        await over.wait()
        try:
            if waiting:
                await stream.send_message([file.range(0, 10)])
            else:
                outcomes.append(stream.send_message_nowait([file.range(0, 10)]))
        except StreamReset as reset:
            outcomes.append(reset.error_code)

    async with serving() as server:
        server.handlers[b"/late"] = late
        client = await connect(server, tls=False, settings=SMALL)
        client.open(1, b"/late", payload=b"")
        client.send(wire.reset_frame(1, 8))
        await until(lambda: bool(outcomes))
        await client.close()
    assert outcomes == [8]
    assert file.holders == 1
    file.release()


async def test_a_full_queue_leaves_a_messages_files_with_the_caller(segment: Path) -> None:
    file = OpenFile(segment)
    outcomes: list[bool] = []

    async def pour(stream: GrpcStream) -> None:
        await stream.receive()
        await stream.send_headers(RESPONSE)
        while not outcomes:
            piece = file.range(0, MIB)
            if not stream.send_message_nowait([piece]):
                outcomes.append(False)
                piece.file.release()
        await stream.send_trailers(TRAILERS)

    async with serving() as server:
        server.handlers[b"/pour"] = pour
        client = await connect(server, tls=False, settings=LARGE)
        client.open(1, b"/pour", payload=b"")
        assert len(await client.until_end_of(1)) == MIB + 5
        await client.close()
    assert outcomes == [False]
    assert file.holders == 1
    file.release()


async def test_cold_pages_are_read_in_a_thread_and_then_sent(segment: Path) -> None:
    file = OpenFile(segment)
    await asyncio.to_thread(os.fsync, file.fileno())
    os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    async with serving() as server:
        server.handlers[b"/fetch"] = fetch(file, messages=2, position=0, size=2 * MIB)
        client = await connect(server, tls=False, settings=LARGE)
        client.open(1, b"/fetch", payload=b"")
        client.open(3, b"/echo", payload=b"not held up")
        assert await client.until_end_of(3) == b"\0\0\0\0\x0bnot held up"
        body = b"\x0a\x01" + CONTENT[: 2 * MIB] + b"end"
        assert await client.until_end_of(1) == (b"\0" + len(body).to_bytes(4, "big") + body) * 2
        await client.close()
    assert file.holders == 1
    file.release()


def test_uvloop_serves_files_and_messages_as_well(segment: Path) -> None:
    uvloop = pytest.importorskip("uvloop")
    file = OpenFile(segment)

    async def scenario() -> tuple[bytes, bytes]:
        async with serving() as server:
            server.handlers[b"/fetch"] = fetch(file, messages=1, position=0, size=2 * MIB)
            client = await connect(server, tls=False, settings=LARGE)
            client.open(1, b"/fetch", payload=b"")
            fetched = await client.until_end_of(1)
            client.open(3, b"/echo", payload=b"e" * 500_000)
            echoed = await client.until_end_of(3)
            await client.close()
            return fetched, echoed

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        fetched, echoed = runner.run(scenario())
    assert fetched[7:-3] == CONTENT[: 2 * MIB]
    assert echoed[5:] == b"e" * 500_000
    assert file.holders == 1
    file.release()


async def test_tls_without_alpn_is_refused_with_one_line(caplog: pytest.LogCaptureFixture) -> None:
    async with serving() as server:
        port = server.listen(tls=server_tls())
        try:
            client = await WireClient.connect(port, tls=client_tls(protocols=()))
            assert await client.until_closed() == []
            await client.close()
        except (ssl.SSLError, ConnectionError):
            pass  # closed while the client was still greeting
        await until(lambda: not server.listener.connection_count)
    assert sum("connection.refused" in r.message for r in caplog.records) == 1
