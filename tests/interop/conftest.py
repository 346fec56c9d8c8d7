"""Our server with what the stock clients call, and the clients themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
import uvloop

from .service import SEGMENT_CONTENT, InteropServer
from .toolchains import MissingToolchain, StockClient, go_client, node_client


@pytest.fixture(scope="session")
def node() -> StockClient:
    try:
        return node_client()
    except MissingToolchain as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def go() -> StockClient:
    try:
        return go_client()
    except MissingToolchain as missing:
        pytest.skip(str(missing))


@pytest.fixture(params=["node", "go"])
def client(request: pytest.FixtureRequest) -> StockClient:
    found: StockClient = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def segment(tmp_path: Path) -> Path:
    path = tmp_path / "segment"
    path.write_bytes(SEGMENT_CONTENT)
    return path


@pytest.fixture(params=["plaintext", "tls"])
async def server(request: pytest.FixtureRequest, segment: Path) -> AsyncIterator[InteropServer]:
    async with InteropServer(segment, tls=request.param == "tls") as served:
        yield served


def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Stock clients meet the server on the loop that services run on."""
    return {"uvloop": uvloop.new_event_loop}
