"""An application's callbacks, kept from ending what calls them.

A producer's own tasks call them: when a batch is sealed, acknowledged or given up. Whatever one of
them raises is logged and goes no further, or one mistake in a callback would cost every record that
the producer holds. Owns the guards; what is called when is the callers' business.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final, ParamSpec

from ottla.client.core.partitioners import Partitioner
from ottla.client.deliveries import Receipt
from ottla.client.record_values import PreparedRecord, ProducerInterceptor
from ottla.protocol.errors import OttlaError

P = ParamSpec("P")

_log: Final = logging.getLogger(__name__)


def harmless(callback: Callable[P, object], *, name: str) -> Callable[P, None]:
    """The callback, whose failures are logged under its name."""

    def call(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            callback(*args, **kwargs)
        except Exception:  # noqa: BLE001 - an application's code: whatever it is, we go on
            _log.exception("the application's %s failed", name)

    return call


class HarmlessInterceptor:
    """An interceptor that can refuse a record, and nothing else."""

    def __init__(self, inner: ProducerInterceptor) -> None:
        self._inner = inner
        self._told = harmless(inner.on_done, name="on_done")

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        return self._inner.on_send(record)

    def on_done(
        self, topic: str, partition: int, *, first: Receipt | None, error: OttlaError | None
    ) -> None:
        self._told(topic, partition, first=first, error=error)


class HarmlessPartitioner:
    """A partitioner that can refuse a record, and nothing else."""

    def __init__(self, inner: Partitioner) -> None:
        self._inner = inner
        self._sealed = harmless(inner.batch_sealed, name="batch_sealed")

    def partition(
        self, topic: str, *, key: bytes | None, value: bytes | None, partition_count: int
    ) -> int:
        return self._inner.partition(topic, key=key, value=value, partition_count=partition_count)

    def batch_sealed(self, topic: str, partition: int) -> None:
        self._sealed(topic, partition)
