"""Clients over TLS, against a broker's own listener: trust, names, and certificates of clients."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from integration.broker.running_broker import fake_controller, running_broker

import ottla
from ottla import Tls
from ottla.client.rpc_errors import Unreachable
from ottla_broker import listener_servers
from ottla_broker.transport import TlsCredentials

PEMS = Path(__file__).parents[2] / "kit" / "tls"
CA, CERTIFICATE, KEY = (str(PEMS / name) for name in ("ca.pem", "client.pem", "client.key"))


@asynccontextmanager
async def secure_broker(tmp_path: Path, **settings: Any) -> AsyncIterator[int]:
    """The port of a broker's encrypted listener; `flights` is a topic."""
    given = {
        "listener": ("secure=127.0.0.1:0,tls", "internal=127.0.0.1:0"),
        "inter_broker_listener": "internal",
        "tls_certificate_path": PEMS / "server.pem",
        "tls_key_path": PEMS / "server.key",
    }
    async with (
        fake_controller() as controller,
        running_broker(tmp_path, controller, **given, **settings) as broker,
    ):
        controller.create_topic("flights")
        yield broker.port


async def round_trip(bootstrap: str, tls: Tls) -> bytes | None:
    """A record through a producer and a consumer."""
    async with (
        ottla.Producer(bootstrap, tls=tls) as producer,
        ottla.Consumer(bootstrap, tls=tls, auto_offset_reset="earliest") as consumer,
    ):
        await (await producer.send("flights", b"sealed"))
        await consumer.assign(["flights"])
        return (await anext(consumer)).value


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_records_travel_encrypted(tmp_path: Path, host: str) -> None:
    async with secure_broker(tmp_path) as port:
        assert await round_trip(f"{host}:{port}", Tls(ca_file=CA)) == b"sealed"


def use_blocking_clients(bootstrap: str) -> bytes | None:
    tls = Tls(ca_file=CA)
    with (
        ottla.blocking.Producer(bootstrap, tls=tls) as producer,
        ottla.blocking.Consumer(bootstrap, tls=tls, auto_offset_reset="earliest") as consumer,
    ):
        producer.send("flights", b"sealed").result()
        consumer.assign(["flights"])
        return next(consumer).value


async def test_blocking_clients_travel_encrypted_too(tmp_path: Path) -> None:
    async with secure_broker(tmp_path) as port:
        found = await asyncio.to_thread(use_blocking_clients, f"127.0.0.1:{port}")
        assert found == b"sealed"


async def refused(port: int, tls: Tls | None) -> str:
    async with ottla.Consumer(f"127.0.0.1:{port}", tls=tls) as consumer:
        with pytest.raises(Unreachable) as caught:
            await consumer.assign(["flights"])
    return caught.value.message


@pytest.mark.slow
async def test_a_broker_that_cannot_prove_its_name_is_not_spoken_to(tmp_path: Path) -> None:
    async with secure_broker(tmp_path) as port:
        assert "127.0.0.1" in await refused(port, Tls())  # signed by nobody that is trusted
        assert "127.0.0.1" in await refused(port, Tls(ca_file=CA, server_name="broker.example"))
        assert "127.0.0.1" in await refused(port, None)  # and in the clear it says nothing
        tls = Tls(ca_file=CA, server_name="localhost")
        assert await round_trip(f"127.0.0.1:{port}", tls) == b"sealed"


@pytest.mark.slow
async def test_a_broker_that_asks_for_certificates_is_shown_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = partial(
        TlsCredentials, client_ca_file=PEMS / "ca.pem", client_certificate_required=True
    )
    monkeypatch.setattr(listener_servers, "TlsCredentials", asking)
    async with secure_broker(tmp_path) as port:
        assert "127.0.0.1" in await refused(port, Tls(ca_file=CA))
        tls = Tls(ca_file=CA, certificate_file=CERTIFICATE, key_file=KEY)
        assert await round_trip(f"127.0.0.1:{port}", tls) == b"sealed"
