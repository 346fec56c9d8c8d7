"""A cluster in a process of its own: its threads and its output are no part of a test's process."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ottla import blocking

_PROGRAM: Final = """
import sys
import ottla.testing
with ottla.testing.cluster() as cluster:
    print(cluster.bootstrap, flush=True)
    sys.stdin.read()
"""


class ClusterProcess:
    """Where it answers, and topics on it."""

    def __init__(self, bootstrap: str) -> None:
        self.bootstrap = bootstrap

    def create_topic(
        self, name: str, *, partition_count: int = 1, configs: dict[str, str] | None = None
    ) -> None:
        with blocking.Admin(self.bootstrap) as admin:
            admin.create_topic(name, partition_count=partition_count, configs=configs)


@contextmanager
def cluster_process() -> Iterator[ClusterProcess]:
    """A cluster that serves; it ends with the block, or with this process."""
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        line = process.stdout.readline()
        while line and not line.startswith("127.0.0.1:"):  # its services write lines there, too
            line = process.stdout.readline()
        assert line, "the cluster ended before it served"
        yield ClusterProcess(line.strip())
        process.stdin.close()
        process.stdout.read()
