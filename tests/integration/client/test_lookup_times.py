"""How long clients look things up where nobody answers: as long as they are told."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

import ottla
from ottla.client.rpc_errors import Unreachable
from ottla.protocol.errors import InvalidConfig, OutcomeUnknown

# Far below what is tried by default, far above what a busy machine takes.
GUARD_SECONDS = 20


@pytest.fixture
async def nobody() -> AsyncIterator[str]:
    """An address where connections are taken and nothing is ever said."""
    writers = []

    async def say_nothing(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)

    async with await asyncio.start_server(say_nothing, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        for writer in writers:
            writer.transport.abort()


async def _look_up(client: Any) -> None:
    match client:
        case ottla.Producer():
            _ = await client.send("flights", b"value")
        case ottla.Consumer():
            await client.assign(["flights"])
        case _:
            await client.describe_cluster()


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ottla.Producer, {"default_api_timeout_ms": 50}),
        (ottla.Consumer, {"default_api_timeout_ms": 50}),
        (ottla.Admin, {"timeout_ms": 50}),
    ],
)
async def test_a_look_up_ends_when_its_time_is_over(
    nobody: str, kind: Any, options: dict[str, int]
) -> None:
    client: AbstractAsyncContextManager[Any] = kind(nobody, **options)
    async with asyncio.timeout(GUARD_SECONDS), client as opened:
        with pytest.raises((OutcomeUnknown, Unreachable)):
            await _look_up(opened)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (ottla.Producer, "default_api_timeout_ms"),
        (ottla.Consumer, "default_api_timeout_ms"),
        (ottla.Admin, "timeout_ms"),
    ],
)
@pytest.mark.parametrize("value", [0, -1, 2**31 + 1, True, 1.5, "1"])
def test_a_time_out_of_bounds_is_refused(kind: Any, name: str, value: Any) -> None:
    with pytest.raises(InvalidConfig, match=f"^{name}="):
        kind("127.0.0.1:9092", **{name: value})
