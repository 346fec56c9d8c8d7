"""A producer against a real broker: acknowledged, in order, whole."""

from __future__ import annotations

import asyncio

from integration.client.arrangement import stored, two_topics

from ottla.client.producer import Producer


async def test_a_record_is_acknowledged_with_its_offset() -> None:
    async with two_topics() as cluster:
        async with Producer(cluster.bootstrap) as producer:
            first = await producer.send(
                "single", b"one", key=b"k", headers=[("h", b"1"), ("h", None)]
            )
            second = await producer.send("single", b"two", timestamp_ms=1_700_000_000_000)
            receipts = [await first, await second]
        assert [(each.topic, each.partition, each.offset) for each in receipts] == [
            ("single", 0, 0),
            ("single", 0, 1),
        ]
        assert receipts[1].timestamp_ms == 1_700_000_000_000
        assert await stored(cluster.bootstrap, "single") == [b"one", b"two"]


async def test_send_many_keeps_the_order_over_many_batches() -> None:
    async with two_topics() as cluster:
        values = [b"%06d" % number + b"x" * 94 for number in range(20_000)]
        async with Producer(cluster.bootstrap) as producer:
            deliveries = await producer.send_many("single", values)
            assert len(deliveries) == 20_000
            receipts = await deliveries
        assert [each.offset for each in receipts] == list(range(20_000))
        assert await stored(cluster.bootstrap, "single") == values


async def test_a_time_given_is_kept_also_the_first_there_is() -> None:
    async with two_topics() as cluster, Producer(cluster.bootstrap) as producer:
        receipts = await (await producer.send_many("single", [b"v"], timestamp_ms=0))
        receipts.append(await (await producer.send("single", b"v", timestamp_ms=0)))
        assert [receipt.timestamp_ms for receipt in receipts] == [0, 0]


async def test_topics_never_heard_of_may_be_sent_to_by_many_at_once() -> None:
    names = [f"new-{number}" for number in range(20)]
    async with two_topics() as cluster:
        for name in names:
            await cluster.create_topic(name)
        async with Producer(cluster.bootstrap) as producer:
            sending = (producer.send(name, b"v") for name in names for _ in range(50))
            deliveries = await asyncio.gather(*sending)
            receipts = [await delivery for delivery in deliveries]
    assert sorted((each.topic, each.offset) for each in receipts) == sorted(
        (name, offset) for name in names for offset in range(50)
    )
