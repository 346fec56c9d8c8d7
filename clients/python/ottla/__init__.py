"""Ottla for Python: producers, consumers and administration of a cluster, on asyncio.

    async with ottla.Producer("127.0.0.1:9092") as producer:
        await producer.send("flights", b"UA1545 EWR IAH", key=b"UA")

Names are imported when first used, so that `import ottla` alone loads neither gRPC nor protobuf.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ottla import blocking as blocking
    from ottla.client.admin import Admin
    from ottla.client.admin_config_items import ConfigChange, ConfigResource
    from ottla.client.admin_items import NewPartitions, NewTopic
    from ottla.client.consumer import Consumer
    from ottla.client.core.partitioners import Partitioner, RoundRobinPartitioner
    from ottla.client.core.positions import TopicPartition
    from ottla.client.core.record_columns import ConsumerRecord
    from ottla.client.deliveries import Deliveries, Delivery, Receipt
    from ottla.client.partitioners import RandomPartitioner, StickyPartitioner
    from ottla.client.producer import Producer
    from ottla.client.received_records import ConsumerInterceptor, Deserializer
    from ottla.client.record_values import PreparedRecord, ProducerInterceptor, Serializer
    from ottla.client.tls import Tls
    from ottla.protocol.errors import OttlaError

__all__ = [
    "Admin",
    "ConfigChange",
    "ConfigResource",
    "Consumer",
    "ConsumerInterceptor",
    "ConsumerRecord",
    "Deliveries",
    "Delivery",
    "Deserializer",
    "NewPartitions",
    "NewTopic",
    "OttlaError",
    "Partitioner",
    "PreparedRecord",
    "Producer",
    "ProducerInterceptor",
    "RandomPartitioner",
    "Receipt",
    "RoundRobinPartitioner",
    "Serializer",
    "StickyPartitioner",
    "Tls",
    "TopicPartition",
    "blocking",
]

_HOMES = {
    "Admin": "ottla.client.admin",
    "ConfigChange": "ottla.client.admin_config_items",
    "ConfigResource": "ottla.client.admin_config_items",
    "Consumer": "ottla.client.consumer",
    "ConsumerInterceptor": "ottla.client.received_records",
    "ConsumerRecord": "ottla.client.core.record_columns",
    "Deliveries": "ottla.client.deliveries",
    "Delivery": "ottla.client.deliveries",
    "Deserializer": "ottla.client.received_records",
    "NewPartitions": "ottla.client.admin_items",
    "NewTopic": "ottla.client.admin_items",
    "OttlaError": "ottla.protocol.errors",
    "Partitioner": "ottla.client.core.partitioners",
    "PreparedRecord": "ottla.client.record_values",
    "Producer": "ottla.client.producer",
    "ProducerInterceptor": "ottla.client.record_values",
    "RandomPartitioner": "ottla.client.partitioners",
    "Receipt": "ottla.client.deliveries",
    "RoundRobinPartitioner": "ottla.client.core.partitioners",
    "Serializer": "ottla.client.record_values",
    "StickyPartitioner": "ottla.client.partitioners",
    "Tls": "ottla.client.tls",
    "TopicPartition": "ottla.client.core.positions",
}


def __getattr__(name: str) -> object:
    if name == "blocking":
        return import_module("ottla.blocking")
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'ottla' has no attribute {name!r}")
    found = globals()[name] = getattr(import_module(home), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
