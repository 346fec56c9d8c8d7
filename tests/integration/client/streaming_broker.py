"""A real broker for clients in the same test, and its sessions by name.

Everything is the broker itself on real sockets and files; the controller is the fake one of the
broker's own tests.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker

import ottla_broker.listener_parts
from ottla_broker.rpc.fetch_servicer import FetchServicer
from ottla_broker.rpc.fetch_session import FetchSessions
from ottla_broker.rpc.produce_servicer import ProduceServicer
from ottla_broker.rpc.produce_session import ProduceSessions


class KnownProduce(ProduceServicer):
    def __init__(self, router: Any, peers: Any, **parts: Any) -> None:
        super().__init__(router, peers, **parts)
        SESSIONS.append(self.sessions)


class KnownFetch(FetchServicer):
    def __init__(self, router: Any, peers: Any, **parts: Any) -> None:
        super().__init__(router, peers, **parts)
        SESSIONS.append(self.sessions)


SESSIONS: list[ProduceSessions | FetchSessions] = []


@asynccontextmanager
async def streaming_broker(
    data_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    controller: FakeController,
    **settings: Any,
) -> AsyncIterator[RunningBroker]:
    """A ready broker whose sessions a test can drain by themselves."""
    monkeypatch.setattr(ottla_broker.listener_parts, "ProduceServicer", KnownProduce)
    monkeypatch.setattr(ottla_broker.listener_parts, "FetchServicer", KnownFetch)
    async with running_broker(data_dir, controller, **settings) as broker:
        try:
            yield broker
        finally:
            SESSIONS.clear()


@asynccontextmanager
async def cluster(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any
) -> AsyncIterator[RunningBroker]:
    """A controller and a streaming broker."""
    async with (
        fake_controller() as controller,
        streaming_broker(data_dir, monkeypatch, controller=controller, **settings) as broker,
    ):
        yield broker
