"""One platform for the tests of a module that only use it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from .arrangement import Up


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("up") / "data")
    try:
        assert running.wait_ready(), running.end(None).err
        yield running
        assert running.end().code == 0
    finally:
        running.close()


_numbers = itertools.count()


@pytest.fixture
def topic_name() -> str:
    return f"topic-{next(_numbers)}"


@pytest.fixture
def new_topic(platform: Up, topic_name: str) -> Callable[..., str]:
    def create(partitions: int = 1) -> str:
        platform.ottla("topics", "create", topic_name, "--partitions", str(partitions))
        return topic_name

    return create
