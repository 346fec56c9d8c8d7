"""Real etcd clusters for controllers to stand on, ended with their test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from kit.cuttable_etcd import CuttableEtcd, running_cuttable_etcd
from kit.etcd import ETCD_IS_MISSING, EtcdCluster, EtcdOptions, running_etcd

from .platform import Platform, running_platform

FAST = EtcdOptions(heartbeat_ms=10, election_ms=100)


@pytest.fixture
def _needs_etcd() -> None:
    if ETCD_IS_MISSING:
        pytest.skip("etcd is not installed")


@pytest.fixture
def lone(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    """One member."""
    with running_etcd(tmp_path / "etcd", options=FAST) as etcd:
        yield etcd


@pytest.fixture
def trio(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    """Three members with etcd's own times."""
    with running_etcd(tmp_path / "etcd", size=3) as etcd:
        yield etcd


@pytest.fixture
def cuttable(_needs_etcd: None, tmp_path: Path) -> Iterator[CuttableEtcd]:
    """Three members that elect twice as fast as etcd does by default, and links between them."""
    options = EtcdOptions(heartbeat_ms=50, election_ms=500)
    with running_cuttable_etcd(tmp_path / "etcd", options=options) as etcd:
        yield etcd


@pytest.fixture
async def platform(lone: EtcdCluster, tmp_path: Path) -> AsyncIterator[Platform]:
    """Three controllers on one member, and a broker."""
    async with running_platform(tmp_path, lone) as platform:
        yield platform


@pytest.fixture
async def large(trio: EtcdCluster, tmp_path: Path) -> AsyncIterator[Platform]:
    """Three controllers on three members, and a broker."""
    async with running_platform(tmp_path, trio) as platform:
        yield platform
