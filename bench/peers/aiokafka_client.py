"""Kafka through aiokafka, the asyncio client in Python."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable
from typing import Final

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

SERVER: Final = "kafka"
SETTINGS: Final = "acks=all, linger_ms=5 (latency: 0), max_batch_size=65536, check_crcs=True"


async def create(port: int, topic: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=f"127.0.0.1:{port}")
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()


def _producer(port: int, linger_ms: int) -> AIOKafkaProducer:
    return AIOKafkaProducer(
        bootstrap_servers=f"127.0.0.1:{port}",
        acks="all",
        linger_ms=linger_ms,
        max_batch_size=65_536,
    )


async def _consumer(port: int, topic: str) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(bootstrap_servers=f"127.0.0.1:{port}", check_crcs=True)
    await consumer.start()
    consumer.assign([TopicPartition(topic, 0)])
    await consumer.seek_to_beginning()
    return consumer


async def produce(port: int, topic: str, values: Iterable[bytes]) -> float:
    async with _producer(port, 5) as producer:
        await producer.send_and_wait(topic, b"first")
        began = time.perf_counter()
        for value in values:
            await producer.send(topic, value)
        await producer.flush()
        return time.perf_counter() - began


async def consume(port: int, topic: str, count: int) -> float:
    consumer = await _consumer(port, topic)
    await consumer.getone()
    began = time.perf_counter()
    left, size = count, 0
    while left > 0:
        for messages in (await consumer.getmany(timeout_ms=1_000, max_records=10_000)).values():
            size += sum([len(message.value) for message in messages])
            left -= len(messages)
    seconds = time.perf_counter() - began
    await consumer.stop()
    return seconds


async def send(port: int, topic: str, values: AsyncIterator[bytes]) -> None:
    async with _producer(port, 0) as producer:
        async for value in values:
            await producer.send(topic, value)


async def receive(port: int, topic: str) -> AsyncIterator[bytes]:
    consumer = await _consumer(port, topic)
    async for message in consumer:
        yield message.value
