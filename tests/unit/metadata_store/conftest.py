"""Every store under the one conformance suite: a fixture that opens each of them in turn.

Another implementation joins by adding a factory to `STORES`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.clock import ManualClock
from ottla_controller.store.interface import MetadataStore
from ottla_controller.store.sqlite_store import SqliteMetadataStore

from .memory_store import MemoryMetadataStore

OpenStore = Callable[[Path, ManualClock], AbstractAsyncContextManager[MetadataStore]]


def open_sqlite(path: Path, clock: ManualClock) -> AbstractAsyncContextManager[MetadataStore]:
    return SqliteMetadataStore.opened(path, clock=clock)


STORES: dict[str, OpenStore] = {"sqlite": open_sqlite, "memory": MemoryMetadataStore.opened}


@dataclass
class StoreCase:
    """A store that is open, with what it takes to open it again."""

    store: MetadataStore
    clock: ManualClock
    open: Callable[[], AbstractAsyncContextManager[MetadataStore]]


@pytest.fixture(params=sorted(STORES))
def open_store(request: pytest.FixtureRequest) -> OpenStore:
    return STORES[request.param]


@pytest.fixture
async def case(open_store: OpenStore, tmp_path: Path) -> AsyncIterator[StoreCase]:
    clock = ManualClock()
    async with open_store(tmp_path, clock) as store:
        yield StoreCase(store, clock, lambda: open_store(tmp_path, clock))


@pytest.fixture
def store(case: StoreCase) -> MetadataStore:
    return case.store


@pytest.fixture
def clock(case: StoreCase) -> ManualClock:
    return case.clock
