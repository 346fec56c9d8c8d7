"""Kafka through confluent-kafka, a binding of the C library librdkafka."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import Final

from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

SERVER: Final = "kafka"
SETTINGS: Final = (
    "acks=all, check.crcs=true, linger.ms=5 and batches of 1 MB (its defaults; latency: 0)"
)
_BATCH: Final = {"acks": "all"}
_AT_ONCE: Final = {"acks": "all", "linger.ms": 0}


async def create(port: int, topic: str) -> None:
    admin = AdminClient({"bootstrap.servers": f"127.0.0.1:{port}"})
    for made in admin.create_topics([NewTopic(topic, 1, 1)]).values():
        made.result(30)


def _producer(port: int, settings: Mapping[str, object]) -> Producer:
    return Producer({"bootstrap.servers": f"127.0.0.1:{port}", **settings})


def _consumer(port: int, topic: str, offset: int) -> Consumer:
    consumer = Consumer(
        {
            "bootstrap.servers": f"127.0.0.1:{port}",
            "group.id": "bench",
            "enable.auto.commit": False,
            "check.crcs": True,
        }
    )
    consumer.assign([TopicPartition(topic, 0, offset)])
    return consumer


def _put(producer: Producer, topic: str, value: bytes) -> None:
    while True:
        try:
            producer.produce(topic, value)
        except BufferError:
            producer.poll(0.05)
        else:
            return


async def produce(port: int, topic: str, values: Iterable[bytes]) -> float:
    producer = _producer(port, _BATCH)
    _put(producer, topic, b"first")
    producer.flush()
    began = time.perf_counter()
    for value in values:
        _put(producer, topic, value)
    producer.flush()
    return time.perf_counter() - began


async def consume(port: int, topic: str, count: int) -> float:
    consumer = _consumer(port, topic, 0)
    while not consumer.consume(1, 1.0):
        pass
    began = time.perf_counter()
    left, size = count, 0
    while left > 0:
        messages = consumer.consume(10_000, 1.0)
        size += sum([len(message.value()) for message in messages])
        left -= len(messages)
    seconds = time.perf_counter() - began
    consumer.close()
    return seconds


async def send(port: int, topic: str, values: AsyncIterator[bytes]) -> None:
    producer = _producer(port, _AT_ONCE)
    async for value in values:
        producer.produce(topic, value)
        producer.poll(0)
    producer.flush()


async def receive(port: int, topic: str) -> AsyncIterator[bytes]:
    consumer = _consumer(port, topic, 0)
    while True:
        message = consumer.poll(1.0)
        if message is not None and message.error() is None:
            yield message.value()
