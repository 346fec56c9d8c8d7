"""A pytest fixture with a cluster for each test.

    # conftest.py at the top of your tests
    pytest_plugins = ["ottla.testing.fixtures"]

Nothing registers it by itself. A cluster with options of its own is a fixture of three lines, see
`docs/testing.md`. Needs pytest and `ottla[server]`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ottla.testing.cluster_context import cluster
from ottla.testing.running_cluster import Cluster


@pytest.fixture
def ottla_cluster() -> Iterator[Cluster]:
    """A cluster of this test alone; `ottla_cluster.aio` is its face for coroutines."""
    with cluster() as running:
        yield running
