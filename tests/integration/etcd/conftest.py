"""Clusters of real etcd processes, ended with their test."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from kit.cuttable_etcd import CuttableEtcd, running_cuttable_etcd
from kit.etcd import ETCD_IS_MISSING, EtcdCluster, EtcdOptions, running_etcd

FAST = EtcdOptions(heartbeat_ms=10, election_ms=100)


@pytest.fixture(autouse=True)
def _needs_etcd() -> None:
    if ETCD_IS_MISSING:
        pytest.skip("etcd is not installed")


@pytest.fixture
def lone(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    """One member, which elects itself at once."""
    with running_etcd(tmp_path / "etcd", options=FAST) as cluster:
        yield cluster


@pytest.fixture
def cramped(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    """One member that has room for 2 MiB."""
    options = replace(FAST, more=("--quota-backend-bytes=2097152",))
    with running_etcd(tmp_path / "etcd", options=options) as cluster:
        yield cluster


@pytest.fixture
def trio(_needs_etcd: None, tmp_path: Path) -> Iterator[EtcdCluster]:
    """Three members, which elect another leader twice as fast as etcd does by default."""
    options = EtcdOptions(heartbeat_ms=50, election_ms=500)
    with running_etcd(tmp_path / "etcd", size=3, options=options) as cluster:
        yield cluster


@pytest.fixture
def cuttable(_needs_etcd: None, tmp_path: Path) -> Iterator[CuttableEtcd]:
    """Three members as in `trio`, with links between them."""
    options = EtcdOptions(heartbeat_ms=50, election_ms=500)
    with running_cuttable_etcd(tmp_path / "etcd", options=options) as cluster:
        yield cluster
