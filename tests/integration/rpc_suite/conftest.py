"""The servers the suite runs on: ours in plaintext and with TLS, and grpc's own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from .arrangement import Rpc


@pytest.fixture(params=["ours", "ours-tls", "grpc"])
async def rpc(request: pytest.FixtureRequest) -> AsyncIterator[Rpc]:
    async with Rpc(request.param) as arrangement:
        yield arrangement
