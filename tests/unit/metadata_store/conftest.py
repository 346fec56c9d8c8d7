"""Every store under the one conformance suite: a fixture that opens each of them in turn.

Another implementation joins by adding itself to `STORES`. The etcd store speaks to a real etcd, one
for all tests of a process, under a prefix for each test. Its leases live by the manual clock like
all others: their time in etcd is so long that it never ends by itself here (that it does otherwise
is shown in `tests/integration/etcd`).
"""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from pathlib import Path

import pytest

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from kit.etcd import ETCD_IS_MISSING, EtcdCluster, EtcdOptions, needs_etcd, running_etcd
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_controller.store.etcd_store import EtcdMetadataStore
from ottla_controller.store.interface import MetadataStore
from ottla_controller.store.sqlite_store import SqliteMetadataStore

from .memory_store import MemoryMetadataStore

OpenStore = Callable[[Path, ManualClock], AbstractAsyncContextManager[MetadataStore]]


def open_sqlite(path: Path, clock: ManualClock) -> AbstractAsyncContextManager[MetadataStore]:
    return SqliteMetadataStore.opened(path, clock=clock)


_servers: list[EtcdCluster] = []


def open_etcd(path: Path, clock: ManualClock) -> AbstractAsyncContextManager[MetadataStore]:
    prefix = hashlib.sha256(bytes(path)).hexdigest()
    settings = EtcdSettings.parsed(f"{_servers[0].connect}/{prefix}")
    return EtcdMetadataStore.opened(settings, clock=clock, entropy=SeededEntropy())


@dataclass(frozen=True)
class StoreKind:
    """One implementation."""

    open: OpenStore
    leases_end_together: bool = True
    """Whether all leases of a process that ends make one revision, or one each."""
    examples_max: int = 40
    """Runs of the model that a test has time for."""


STORES: dict[str, StoreKind] = {
    "etcd": StoreKind(open_etcd, leases_end_together=False, examples_max=12),
    "memory": StoreKind(MemoryMetadataStore.opened),
    "sqlite": StoreKind(open_sqlite),
}
KINDS = [
    pytest.param(kind, marks=needs_etcd) if kind == "etcd" else kind for kind in sorted(STORES)
]


@pytest.fixture(scope="session", autouse=True)
def _etcd_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """One member for all tests, which elects itself at once."""
    if ETCD_IS_MISSING:
        yield
        return
    options = EtcdOptions(heartbeat_ms=10, election_ms=100)
    with running_etcd(tmp_path_factory.mktemp("etcd"), options=options) as server:
        _servers.append(server)
        yield
        _servers.clear()


@dataclass
class StoreCase:
    """A store that is open, with what it takes to open it again."""

    store: MetadataStore
    clock: ManualClock
    open: Callable[[], AbstractAsyncContextManager[MetadataStore]]


@pytest.fixture(params=KINDS)
def store_kind(request: pytest.FixtureRequest) -> StoreKind:
    return STORES[request.param]


@pytest.fixture
def open_store(store_kind: StoreKind) -> OpenStore:
    return store_kind.open


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
