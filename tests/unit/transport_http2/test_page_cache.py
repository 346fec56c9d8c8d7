"""Which ranges are sent at once, and which go through a thread."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from ottla_broker.transport.page_cache import PageCache
from ottla_broker.transport.stream import FileRange

pytestmark = pytest.mark.may_block(reason="files of the test's own")


class Opened:
    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDONLY)
        self.error: Exception | None = None

    def fileno(self) -> int:
        if self.error is not None:
            raise self.error
        return self.descriptor

    def acquire(self) -> None:
        raise AssertionError("looking takes no hold")

    def release(self) -> None:
        raise AssertionError("looking takes no hold")


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Opened]:
    path = tmp_path / "file"
    path.write_bytes(bytes(300_000))
    file = Opened(path)
    yield file
    os.close(file.descriptor)


@pytest.fixture
def cache() -> Iterator[PageCache]:
    cache = PageCache()
    yield cache
    cache.close()


@pytest.mark.parametrize("error", [OSError("bad descriptor"), ValueError("closed file")])
def test_a_file_that_cannot_be_asked_counts_as_cold(
    cache: PageCache, opened: Opened, error: Exception
) -> None:
    opened.error = error
    assert not cache.is_warm(FileRange(opened, 0, 10))
