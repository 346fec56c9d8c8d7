"""The process that a cluster runs in: nothing on its stderr, nothing asked of it, nothing left."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

SECONDS_MAX = 50

SEVERAL_LOOPS = """
import asyncio, gc, threading, warnings
warnings.simplefilter("error")
import ottla, ottla.testing

async def work(number):
    topic = f"topic-{number}"
    async with ottla.Admin(cluster.bootstrap) as admin:
        await admin.create_topic(topic)
        for _ in range(100):
            await admin.list_topics()
    async with ottla.Producer(cluster.bootstrap) as producer:
        for _ in range(20):
            await (await producer.send(topic, b"v"))
    async with ottla.Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        counts.append(len([await anext(consumer) for _ in range(20)]))

counts = []
for _ in range(2):
    with ottla.testing.cluster(controller_settings={"session.timeout.ms": 500}) as cluster:
        threads = [threading.Thread(target=lambda n=n: asyncio.run(work(n))) for n in range(3)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        cluster.broker.kill()
        cluster.broker.start()
    gc.collect()
print(counts)
"""

NEVER_CLOSED = """
import ottla.testing
context = ottla.testing.cluster(topics={"flights": 1})
cluster = context.__enter__()
print(cluster.data_dir)
"""

WITHOUT_THE_EXTRA = """
import sys
sys.modules["structlog"] = None
import ottla.testing
try:
    with ottla.testing.cluster():
        print("entered")
except ImportError as error:
    print(error)
"""

LIGHT = """
import sys
import ottla.testing
heavy = ("grpc", "google", "pydantic", "structlog", "pytest", "ottla_broker", "ottla_runtime")
print([name for name in sys.modules if name.split(".")[0] in heavy])
"""


def run(program: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    environ = {key: value for key, value in environ.items() if not key.startswith("OTTLA_")}
    return subprocess.run(
        [sys.executable, "-c", program],
        cwd=folder,
        env={**environ, "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )


def test_several_loops_beside_a_cluster_leave_nothing_on_stderr(tmp_path: Path) -> None:
    ran = run(SEVERAL_LOOPS, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[20, 20, 20, 20, 20, 20]\n", "")
    assert list(tmp_path.iterdir()) == []


def test_a_cluster_that_nobody_closes_ends_with_the_interpreter(tmp_path: Path) -> None:
    ran = run(NEVER_CLOSED, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.startswith(str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    ran = run(WITHOUT_THE_EXTRA, tmp_path)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == (
        "ottla.testing.cluster() runs real services, and 'structlog' is not installed;"
        " install ottla[server]\n"
    )


def test_importing_it_loads_no_service(tmp_path: Path) -> None:
    ran = run(LIGHT, tmp_path)
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "[]\n", "")
