"""Our server as stock grpc-js and grpc-go meet it, in plaintext and with TLS."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from .service import SEGMENT_CONTENT, InteropServer, fetched_size
from .toolchains import StockClient

# The first test of a client builds it.
pytestmark = pytest.mark.timeout(300)

METADATA = {"x-text": ["a", "b c"], "x-raw-bin": ["0001feff", "", "07"]}


def values_of(metadata: dict[str, list[str]]) -> dict[str, list[str]]:
    """Metadata whose values may have been joined: clients may, for a key that repeats."""
    return {
        key: [part for value in values for part in value.split(", ")]
        for key, values in metadata.items()
    }


async def test_unary(server: InteropServer, client: StockClient) -> None:
    assert await server.run(client, "unary") == {"code": 0, "value": "hello"}


async def test_a_large_unary_message_both_ways(server: InteropServer, client: StockClient) -> None:
    assert await server.run(client, "large_unary") == {"code": 0, "equal": True}


async def test_a_message_beyond_the_limit(server: InteropServer, client: StockClient) -> None:
    assert await server.run(client, "too_large") == {"code": 8, "after": "still here"}


async def test_many_calls_at_once(server: InteropServer, client: StockClient) -> None:
    assert await server.run(client, "many") == {"values": list(range(200))}


async def test_file_ranges(server: InteropServer, client: StockClient) -> None:
    hashed = hashlib.sha256()
    for number in range(24):
        hashed.update(number.to_bytes(4, "big"))
        start, size = number * 1000, fetched_size(number) - 4
        hashed.update(SEGMENT_CONTENT[start : start + size])
    outcome = await server.run(client, "fetch")
    assert outcome["sizes"] == [fetched_size(number) for number in range(24)]
    assert (outcome["code"], outcome["sha256"]) == (0, hashed.hexdigest())
    assert server.segment.holders == 0


async def test_a_stream_of_large_requests(server: InteropServer, client: StockClient) -> None:
    outcome = await server.run(client, "upload")
    assert outcome["answer"] == outcome["sha256"]


async def test_a_stream_both_ways(server: InteropServer, client: StockClient) -> None:
    outcome = await server.run(client, "bidi")
    assert outcome == {"code": 0, "values": [str(number) for number in range(20)]}


async def test_an_error_without_messages(server: InteropServer, client: StockClient) -> None:
    outcome = await server.run(client, "error")
    assert (outcome["code"], outcome["details"]) == (9, "100% \N{SNOWMAN}\nwrong")
    assert outcome["initial"] == {}
    assert values_of(outcome["trailing"]) == {"x-why": ["one", "two"], "x-raw-bin": ["00ff"]}


async def test_an_error_after_messages(server: InteropServer, client: StockClient) -> None:
    outcome = await server.run(client, "error_after_messages")
    assert outcome == {"code": 11, "details": "no third", "values": ["first", "second"]}


async def test_a_call_in_progress_ends_well_while_the_server_drains(
    server: InteropServer, client: StockClient
) -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(server.drain_when_asked(), name="drain")
        outcome = await server.run(client, "drain")
    assert (outcome["code"], outcome["values"]) == (0, ["before", "after"])


async def test_an_unknown_method(server: InteropServer, client: StockClient) -> None:
    outcome = await server.run(client, "unknown_method")
    assert outcome == {"code": 12, "details": "Method not found!"}


async def test_metadata_there_and_back(server: InteropServer, client: StockClient) -> None:
    outcome = await server.run(client, "metadata")
    assert outcome["code"] == 0
    assert values_of(outcome["initial"]) == METADATA
    assert values_of(outcome["trailing"]) == METADATA


async def test_a_deadline(server: InteropServer, client: StockClient) -> None:
    assert await server.run(client, "deadline") == {"code": 4}
    await server.servicer.nobody_waits.wait()


async def test_a_cancelled_call(server: InteropServer, client: StockClient) -> None:
    assert await server.run(client, "cancel") == {"code": 1}
    assert server.servicer.waits == 1
    await server.servicer.nobody_waits.wait()


async def test_compression_both_ways(server: InteropServer, client: StockClient) -> None:
    assert await server.run(client, "compression") == {"code": 0, "equal": True}
