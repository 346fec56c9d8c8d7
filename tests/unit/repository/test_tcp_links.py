"""The links of the test kit do to connections what their cuts say."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from kit.tcp_links import Cut, TcpLinks, running_links

pytestmark = pytest.mark.may_block(reason="links are made and cut while nothing else waits")

WAIT_SECONDS = 10.0
QUIET_SECONDS = 0.05
Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@pytest.fixture
def links() -> Iterator[TcpLinks]:
    with running_links() as links:
        yield links


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of somebody who says everything back."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        try:
            while data := await reader.read(1_024):
                writer.write(data)
        except ConnectionResetError:
            pass

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield server.sockets[0].getsockname()[1]
        for writer in writers:
            writer.transport.abort()


async def dialed(port: int) -> Ends:
    return await asyncio.open_connection("127.0.0.1", port)


async def said_back(ends: Ends, text: bytes) -> bytes:
    ends[1].write(text)
    async with asyncio.timeout(WAIT_SECONDS):
        found = await ends[0].readexactly(len(text))
    assert not ends[1].is_closing()
    return found


async def test_a_link_passes_bytes_on_and_a_refused_one_resets_old_and_new_connections(
    links: TcpLinks,
) -> None:
    async with echo() as target:
        port = links.listen(target="b", target_port=lambda: target, dialer="a")
        old = await dialed(port)
        assert await said_back(old, b"hello") == b"hello"
        links.cut("b", "a", how=Cut.REFUSED)
        with pytest.raises(ConnectionResetError):
            await old[0].read()
        with pytest.raises(ConnectionResetError):  # when it is made, or at once afterwards
            await said_back(await dialed(port), b"hello")
        links.heal()
        again = await dialed(port)
        assert await said_back(again, b"hello") == b"hello"
        again[1].close()


async def test_a_silent_link_keeps_connections_and_holds_bytes_back_until_it_is_healed(
    links: TcpLinks,
) -> None:
    async with echo() as target:
        port = links.listen(target="b", target_port=lambda: target, dialer="a")
        old = await dialed(port)
        assert await said_back(old, b"hello") == b"hello"
        links.cut("a", "b", how=Cut.SILENT)
        new = await dialed(port)
        for _, writer in (old, new):
            writer.write(b"held")
        for reader, _ in (old, new):
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(QUIET_SECONDS):
                    await reader.read(1)
        links.heal()
        for reader, writer in (old, new):
            async with asyncio.timeout(WAIT_SECONDS):
                assert await reader.readexactly(4) == b"held"
            writer.close()


async def test_a_silent_link_that_is_refused_later_resets_what_it_held(links: TcpLinks) -> None:
    async with echo() as target:
        port = links.listen(target="b", target_port=lambda: target, dialer="a")
        links.cut("a", "b", how=Cut.SILENT)
        reader, writer = await dialed(port)
        writer.write(b"held")
        links.cut("a", "b", how=Cut.REFUSED)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        writer.close()


async def test_who_dialed_is_known_by_its_process_and_nobody_else_is_cut(links: TcpLinks) -> None:
    async with echo() as target:
        port = links.listen(
            target="b", target_port=lambda: target, dialer=lambda: {"1": 1, "us": os.getpid()}
        )
        ends = await dialed(port)
        links.cut("b", "1", how=Cut.REFUSED)
        assert await said_back(ends, b"hello") == b"hello"
        links.cut("b", "us", how=Cut.REFUSED)
        with pytest.raises(ConnectionResetError):
            await ends[0].read()
        ends[1].close()
