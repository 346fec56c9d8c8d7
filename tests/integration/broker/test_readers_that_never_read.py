"""Reads of plain records whose clients take nothing: what they cost a broker and others."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.requests import collected, publish, read, records_of
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker

from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.metadata.v1 import metadata_pb2

READ_PATH = b"/ottla.api.fetch.v1.FetchService/Read"
CONNECTION_COUNT = 10
STREAM_COUNT = 40
GROWTH_MAX = 160 << 20
"""The budget twice over; a decoded batch for each stream would be over a gibibyte."""

SETTINGS, HEADERS, DATA, WINDOW_UPDATE = 4, 1, 0, 8


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    head = struct.pack(">I", len(payload))[1:] + bytes([kind, flags])
    return head + struct.pack(">I", stream_id) + payload


def request_headers() -> bytes:
    """POST, http and four literals that enter no table."""
    fields = {
        b":path": READ_PATH,
        b":authority": b"x",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
    }
    literals = [
        b"\0" + bytes([len(name)]) + name + bytes([len(value)]) + value
        for name, value in fields.items()
    ]
    return b"\x83\x86" + b"".join(literals)


def opening(*, opens_windows: bool) -> bytes:
    """A client's preface, with the windows of HTTP/2's defaults or as wide as they get."""
    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
    if not opens_windows:
        return preface + frame(SETTINGS, 0, 0)
    initial = struct.pack(">HI", 4, 2**31 - 1)
    return preface + frame(SETTINGS, 0, 0, initial) + frame(WINDOW_UPDATE, 0, 0, b"\x40\0\0\0")


def open_clients(
    port: int, request: fetch_pb2.ReadRequest, *, opens_windows: bool
) -> list[socket.socket]:
    """Connections full of `Read` calls, of which nobody ever receives a byte."""
    payload = request.SerializeToString()
    message = b"\0" + struct.pack(">I", len(payload)) + payload
    calls = b"".join(
        frame(HEADERS, 4, stream_id, request_headers()) + frame(DATA, 1, stream_id, message)
        for stream_id in range(1, 2 * STREAM_COUNT, 2)
    )
    clients = []
    for _ in range(CONNECTION_COUNT):
        client = socket.socket()
        clients.append(client)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        client.connect(("127.0.0.1", port))
        client.sendall(opening(opens_windows=opens_windows) + calls)
    return clients


@asynccontextmanager
async def never_reading(
    port: int, request: fetch_pb2.ReadRequest, *, opens_windows: bool
) -> AsyncIterator[None]:
    """Clients that stay connected, and take nothing, while the block runs."""
    clients = await asyncio.to_thread(open_clients, port, request, opens_windows=opens_windows)
    try:
        yield
    finally:
        for client in clients:
            client.close()


async def resident_size() -> int:
    return await asyncio.to_thread(_resident_size)


def _resident_size() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
async def controller() -> AsyncIterator[FakeController]:
    async with fake_controller() as running:
        yield running


@pytest.fixture
async def broker(tmp_path: Path, controller: FakeController) -> AsyncIterator[RunningBroker]:
    async with running_broker(tmp_path / "1", controller) as running:
        yield running


@pytest.mark.parametrize("opens_windows", [False, True])
async def test_reads_that_nobody_takes_hold_a_bounded_size_while_others_are_answered(
    broker: RunningBroker, opens_windows: bool
) -> None:
    await broker.create_topic("plain")
    values = [os.urandom(1_000) for _ in range(1_000)]
    for _ in range(4):
        await broker.produce.Publish(publish("plain", *values, partition=0), timeout=10)
    request = read("plain")
    request.ClearField("until")
    before = await resident_size()
    async with never_reading(broker.port, request, opens_windows=opens_windows):
        # More than once around for every one of those streams: its turn has come and gone.
        for _ in range(20):
            await broker.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(), timeout=10)
            async with asyncio.timeout(10):
                messages = await collected(broker.fetch.Read(read("plain", max_records=1_000)))
            assert [record.value for record in records_of(messages)] == values
        grown = await resident_size() - before
    assert grown < GROWTH_MAX, f"{grown >> 20} MiB"
