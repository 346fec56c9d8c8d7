"""A store on a real etcd, and what a test needs to see that nothing was lost or came twice.

Owns a writer that notes what became of each write, and a watcher that notes every revision it is
given. Numbers are written one after the other, each under a key of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from kit.etcd import EtcdCluster
from ottla.protocol.errors import MetadataStoreUnavailable, OutcomeUnknown
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_controller.store.etcd_store import EtcdMetadataStore
from ottla_controller.store.interface import MetadataStore, PutKey, RevisionEvents
from ottla_runtime.clock import SystemClock
from ottla_runtime.entropy import Entropy, SystemEntropy

_Value = TypeVar("_Value")

WAIT_SECONDS = 20.0
NUMBERS = b"n/"


def settings_of(cluster: EtcdCluster, **more: Any) -> EtcdSettings:
    return EtcdSettings.parsed(f"{cluster.connect}/test", **more)


class BeginsAtTheFirst(SystemEntropy):
    """Has a store use the first of its members until that fails."""

    def random(self) -> float:
        return 0.0


@asynccontextmanager
async def running_store(
    settings: EtcdSettings, *, entropy: Entropy | None = None
) -> AsyncIterator[EtcdMetadataStore]:
    """A store that is open, with its task."""
    opening = EtcdMetadataStore.opened(
        settings, clock=SystemClock(), entropy=entropy or SystemEntropy()
    )
    async with opening as store, running(store.run()):
        yield store


@asynccontextmanager
async def running(work: Coroutine[Any, Any, Any]) -> AsyncIterator[asyncio.Task[Any]]:
    """Something that goes on while the block does; what it failed with fails the block."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(work, name="goes on meanwhile")
        yield task
        task.cancel()


async def done_in_thread(work: Callable[..., _Value], *arguments: Any) -> _Value:
    """What blocks, without standing in the way of the loop."""
    return await asyncio.to_thread(work, *arguments)


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Returns once something holds; fails when that takes too long."""
    async with asyncio.timeout(WAIT_SECONDS):
        while True:
            answer = holds()
            if answer if isinstance(answer, bool) else await answer:
                return
            await asyncio.sleep(0.01)


@dataclass
class Writer:
    """Writes numbers until it is told to stop, and never one of them twice."""

    store: MetadataStore
    acknowledged: dict[int, int] = field(default_factory=dict)
    """Number → revision."""
    unknown: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    next_number: int = 0
    stopped: bool = False

    async def run(self) -> None:
        while not self.stopped:
            number, self.next_number = self.next_number, self.next_number + 1
            try:
                done = await self.store.transact([], [PutKey(NUMBERS + b"%06d" % number, b"")])
                assert done.succeeded
                self.acknowledged[number] = done.revision
            except OutcomeUnknown:
                self.unknown.add(number)
            except MetadataStoreUnavailable:
                self.refused.add(number)

    async def goes_on(self, count: int = 20) -> None:
        """Returns once so many more numbers were acknowledged."""
        wanted = len(self.acknowledged) + count
        await until(lambda: len(self.acknowledged) >= wanted)


@dataclass
class Watcher:
    """Follows the numbers."""

    store: MetadataStore
    from_revision: int
    seen: list[RevisionEvents] = field(default_factory=list)

    async def run(self) -> None:
        async with self.store.watch(NUMBERS, from_revision=self.from_revision) as revisions:
            async for revision in revisions:
                self.seen.append(revision)

    async def catches_up(self, writer: Writer) -> None:
        """Returns once it was given what is acknowledged by now."""
        wanted = max(writer.acknowledged.values())
        await until(lambda: bool(self.seen) and self.seen[-1].revision >= wanted)

    def numbers(self) -> dict[int, int]:
        """Number → revision; each number was written once."""
        found = {
            int(event.key.removeprefix(NUMBERS)): each.revision
            for each in self.seen
            for event in each.events
        }
        assert len(found) == sum(len(each.events) for each in self.seen), "a number came twice"
        return found


@asynccontextmanager
async def writing_and_watching(store: MetadataStore) -> AsyncIterator[tuple[Writer, Watcher]]:
    """A writer and a watcher at work; at the end, what they saw is held against the store."""
    begin = (await store.read(b"")).revision + 1
    writer, watcher = Writer(store), Watcher(store, begin)
    async with running(watcher.run()), running(writer.run()) as writing:
        await writer.goes_on()
        yield writer, watcher
        writer.stopped = True
        async with asyncio.timeout(WAIT_SECONDS):
            await writing
        last = (await store.transact([], [PutKey(NUMBERS + b"999999", b"")])).revision
        await until(lambda: bool(watcher.seen) and watcher.seen[-1].revision >= last)
    await check(store, writer, watcher, last)


async def check(store: MetadataStore, writer: Writer, watcher: Watcher, last: int) -> None:
    """Nothing lost, nothing twice, in order, and the same as the store says."""
    seen = watcher.numbers()
    assert seen.pop(999_999) == last
    revisions = [each.revision for each in watcher.seen]
    assert revisions == sorted(set(revisions))
    assert writer.acknowledged.items() <= seen.items(), "an acknowledged write was lost"
    assert seen.keys() <= writer.acknowledged.keys() | writer.unknown
    assert not seen.keys() & writer.refused, "a write that was refused was done"
    page = await store.read(NUMBERS, limit=10_000)
    kept = {int(each.key.removeprefix(NUMBERS)): each.mod_revision for each in page.items}
    assert kept == {**seen, 999_999: last}
