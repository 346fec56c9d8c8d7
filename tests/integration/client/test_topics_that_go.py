"""Topics deleted, and created again, under those who write and read them."""

from __future__ import annotations

import asyncio

import pytest
from integration.client.arrangement import stored, two_topics

from ottla.client.admin import Admin
from ottla.client.consumer import Consumer
from ottla.client.core import positions
from ottla.client.producer import Producer
from ottla.protocol.errors import OffsetOutOfRange, UnknownTopicOrPartition

OLD = [b"old-%d" % number for number in range(10)]
NEW = [b"new-%d" % number for number in range(30)]


async def create_again(bootstrap: str) -> None:
    """Another topic of the name, with more records than the one before."""
    async with Admin(bootstrap) as admin, Producer(bootstrap) as producer:
        await admin.delete_topic("single")
        await admin.create_topic("single")
        await (await producer.send_many("single", NEW))


async def read(consumer: Consumer[bytes, bytes], count: int) -> list[bytes | None]:
    async with asyncio.timeout(20):
        return [(await anext(consumer)).value for _ in range(count)]


async def test_a_topic_created_again_is_read_from_its_beginning_not_from_the_middle() -> None:
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            _ = await producer.send_many("single", OLD)
        async with Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
            await consumer.assign(["single"])
            assert await read(consumer, 10) == OLD
            await create_again(cluster.bootstrap)
            assert await read(consumer, 30) == NEW


async def test_who_wants_to_decide_is_told_that_a_topic_is_another() -> None:
    place = positions.TopicPartition("single", 0)
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            _ = await producer.send_many("single", OLD)
        async with Consumer(cluster.bootstrap, auto_offset_reset="error") as consumer:
            await consumer.assign({place: 0})
            assert await read(consumer, 10) == OLD
            await create_again(cluster.bootstrap)
            with pytest.raises(OffsetOutOfRange, match="created again"):
                await read(consumer, 1)
            consumer.seek(place, 29)
            assert await read(consumer, 1) == NEW[29:]


async def test_a_topic_that_is_gone_is_raised_by_the_next_read_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(positions, "UNKNOWN_MS_MAX", 300)
    async with two_topics() as cluster:
        async with (
            Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer,
            Admin(cluster.bootstrap) as admin,
            Producer(cluster.bootstrap) as producer,
        ):
            await consumer.assign(["single", ("flights", 0)])
            await (await producer.send("single", b"v"))
            assert await read(consumer, 1) == [b"v"]
            await admin.delete_topic("single")
            with pytest.raises(UnknownTopicOrPartition) as caught:
                await read(consumer, 1)
            assert (caught.value.topic, caught.value.partition) == ("single", 0)
            await (await producer.send("flights", b"goes on", partition=0))
            assert await read(consumer, 1) == [b"goes on"]
            await admin.create_topic("single")
            await (await producer.send("single", b"again"))
            await consumer.assign(["single"])
            assert await read(consumer, 1) == [b"again"]


async def test_a_topic_created_again_takes_the_first_record_sent_to_it() -> None:
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer, Admin(cluster.bootstrap) as admin:
            for round_number in range(3):
                receipts = await (await producer.send_many("single", OLD))
                assert receipts[0].offset == 0, round_number
                await admin.delete_topic("single")
                await admin.create_topic("single")
        assert await stored(cluster.bootstrap, "single") == []
