"""What every measurement needs before it begins: a topic, values to send, a loop that is on time.

Owns making a topic for one run and deleting it after. Does not own what is measured.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import secrets
import selectors
import string
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Final

from ottla.protocol.errors import OttlaError
from ottla_cli.connections.settings import Connection
from ottla_cli.session import admin_of
from ottla_cli.terminal import say

_VALUES_MAX: Final = 1_000
_VALUES_BYTES_MAX: Final = 16 << 20
# Deletes by itself what a killed run leaves behind.
_TEMPORARY: Final = {"retention.ms": "86400000"}


def precise_loop() -> asyncio.AbstractEventLoop:
    """An event loop that wakes when it should: `select` knows microseconds, epoll milliseconds."""
    return asyncio.SelectorEventLoop(selectors.SelectSelector())


def values_of(size_bytes: int) -> list[bytes]:
    """Different values of one size, letters and digits, the same in every run."""
    chance = random.Random(7)
    letters = (string.ascii_letters + string.digits).encode()
    count = max(1, min(_VALUES_MAX, _VALUES_BYTES_MAX // max(1, size_bytes)))
    return [bytes(chance.choices(letters, k=size_bytes)) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Place:
    """Where to measure.

    Attributes:
        topic: one that is there; None: one made for the run, of which the rest is said.
        partition_count: partitions it gets.
        configs: settings it gets.
    """

    topic: str | None
    partition_count: int
    configs: Mapping[str, str]

    def described(self) -> dict[str, object]:
        """For the report."""
        if self.topic is not None:
            return {}
        return {"partitions": self.partition_count, **self.configs}


@contextlib.asynccontextmanager
async def topic_for_run(connection: Connection, place: Place) -> AsyncIterator[str]:
    """The topic given, or one made for the block and deleted after it, whatever happens.

    Raises:
        OttlaError: it cannot be made, or the one given is not there. Measuring never creates it.
    """
    if place.topic is not None:
        async with admin_of(connection) as admin:
            (given,) = await admin.describe_topics([place.topic])
        if given.error is not None:
            raise given.error
        yield place.topic
        return
    name = f"ottla-perf-{secrets.token_hex(4)}"
    async with admin_of(connection) as admin:
        await admin.create_topic(
            name, partition_count=place.partition_count, configs={**_TEMPORARY, **place.configs}
        )
        try:
            yield name
        finally:
            try:
                await admin.delete_topic(name)
            except OttlaError as error:
                say(f"ottla: the topic {name} is left behind: {error.message}", style="bold red")
                say(f"       `ottla topics delete {name}` removes it")
