"""Connections that nobody needs are closed, and opened again when somebody does."""

from __future__ import annotations

import asyncio

import pytest
from integration.client.arrangement import two_topics
from integration.client.cutting_proxy import cutting_proxy

from ottla.client import channel_set, fetch_link
from ottla.client.admin import Admin
from ottla.client.clock import SystemClock
from ottla.client.consumer import Consumer
from ottla.client.producer import Producer


async def test_a_consumer_that_is_paused_for_long_holds_no_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            _ = await producer.send_many("single", [b"0", b"1", b"2"])
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single"])
            assert (await anext(consumer)).offset == 0
            (link,) = consumer._fetching._links.values()
            with monkeypatch.context() as patched:
                patched.setattr(fetch_link, "IDLE_MS", 0)
                consumer.pause()
                await consumer.end_offsets([("single", 0)])  # turns for the link
                assert not link.is_open
            consumer.resume()
            assert (await anext(consumer)).offset == 1
            assert link.is_open


class Impatient(SystemClock):
    """Waits for the next moment where others wait for minutes."""

    async def sleep_until(self, monotonic_ms: int) -> None:
        await asyncio.sleep(0.01)


async def test_a_connection_without_calls_is_closed_until_the_next_one(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(channel_set, "IDLE_MS", 20)
    async with two_topics() as cluster, cutting_proxy() as proxy:
        proxy.target_port = cluster.broker.port
        admin = Admin(f"127.0.0.1:{proxy.port}")
        admin._access._clock = Impatient()
        async with admin:
            for _ in range(3):
                names = [listing.name for listing in await admin.list_topics()]
                assert names == ["flights", "single"]
                await proxy.is_unused.wait()
        assert proxy.connection_count == 3
