"""A client belongs to one event loop: elsewhere it says so, where it would wait for ever."""

from __future__ import annotations

import asyncio

import pytest

from ottla.client.consumer import Consumer
from ottla.client.producer import Producer
from ottla.protocol.errors import InvalidRequest

NOBODY = "127.0.0.1:1"
MATCH = "belongs to the event loop"


def test_a_client_is_refused_on_another_loop_than_its_own() -> None:
    producer, consumer = Producer(NOBODY), Consumer(NOBODY)
    with asyncio.Runner() as own, asyncio.Runner() as other:
        own.run(producer.open())
        own.run(consumer.open())
        for use in (
            producer.send("t", b"v"),
            producer.flush(),
            producer.close(),
            consumer.assign(["t"]),
            consumer.next_batch(),
            consumer.end_offsets([("t", 0)]),
            consumer.close(),
        ):
            with pytest.raises(InvalidRequest, match=MATCH):
                other.run(use)
        consumer.pause()  # waits for nothing, so it may be called outside of loops
        own.run(producer.close())
        own.run(consumer.close())
        other.run(producer.close())  # again: nothing


def test_a_producer_looks_at_once_when_its_loop_has_ended() -> None:
    producer = Producer(NOBODY)
    with asyncio.Runner() as own:
        own.run(producer.open())
        producer._size_since_turn = 0  # as after records: it looks again only after many more
    with asyncio.Runner() as other, pytest.raises(InvalidRequest, match=MATCH):
        _ = other.run(producer.send("t", b"v"))
