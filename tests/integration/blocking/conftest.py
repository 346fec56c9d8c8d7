"""A cluster that the tests of a module share, and how often threads were crossed."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from integration.blocking.cluster_process import ClusterProcess, cluster_process

from ottla.blocking.loop_thread import LoopThread


@pytest.fixture(autouse=True)
def _service_logs(service_logs: None) -> None:
    """Some tests here run a broker in their own process, to kill it."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterProcess]:
    with cluster_process() as running:
        yield running


@pytest.fixture
def crossings(monkeypatch: pytest.MonkeyPatch) -> list[None]:
    """Grows by one item whenever a thread wakes the loop."""
    counted: list[None] = []
    post = LoopThread.post

    def counting(self: LoopThread, callback: Callable[[], object]) -> None:
        counted.append(None)
        post(self, callback)

    monkeypatch.setattr(LoopThread, "post", counting)
    return counted
