"""Clients that nobody closed when the interpreter ends: flushed, or their losses told."""

from __future__ import annotations

import re

import pytest
from integration.blocking.cluster_process import ClusterProcess
from integration.blocking.programs import run

import ottla.testing
from ottla import blocking

pytestmark = pytest.mark.slow

LEFT_OPEN = """
producer = ottla.blocking.Producer(bootstrap, **dict(each.split("=") for each in sys.argv[3:]))
producer.open()
consumer = ottla.blocking.Consumer(bootstrap)
consumer.open()
consumer.assign([sys.argv[2]])
producer.send_many(sys.argv[2], [b"v" * 1_000] * 20_000)
for _ in range(5_000):
    producer.send(sys.argv[2], b"w")
print("sent")
"""


@pytest.mark.parametrize("options", [[], ["compression=zstd"]])
def test_a_producer_left_open_is_flushed(cluster: ClusterProcess, options: list[str]) -> None:
    topic = f"left-{len(options)}"
    cluster.create_topic(topic)
    ended = run(LEFT_OPEN, cluster.bootstrap, topic, *options)
    assert (ended.code, ended.lines, ended.errors) == (0, ["sent"], "")
    with blocking.Consumer(cluster.bootstrap) as consumer:
        assert consumer.end_offsets([(topic, 0)]) == {(topic, 0): 25_000}


FROM_A_THREAD = """
producer = ottla.blocking.Producer(bootstrap)
producer.open()
producer.send("threads", b"first").result()

def send():
    threading.main_thread().join()
    for _ in range(1_000):
        producer.send("threads", b"v")

threading.Thread(target=send).start()
raise RuntimeError("mine")
"""


def test_threads_that_outlive_the_main_one_are_waited_for_before(cluster: ClusterProcess) -> None:
    cluster.create_topic("threads")
    ended = run(FROM_A_THREAD, cluster.bootstrap)
    assert ended.code == 1
    assert ended.errors.splitlines()[-1] == "RuntimeError: mine"
    with blocking.Consumer(cluster.bootstrap) as consumer:
        assert consumer.end_offsets([("threads", 0)]) == {("threads", 0): 1_001}


CUT_OFF = """
import ottla.blocking.loop_thread
ottla.blocking.loop_thread.EXIT_FLUSH_MS = 300
producer = ottla.blocking.Producer(bootstrap)
producer.open()
producer.send("flights", b"v").result()
print("known", flush=True)
sys.stdin.readline()
for _ in range(40):
    producer.send("flights", b"w")
producer.send_many("flights", [b"w"] * 2)
"""

CUT_OFF_AWAITING = """
async def main():
    producer = ottla.Producer(bootstrap)
    await producer.open()
    await (await producer.send("flights", b"v"))
    print("known", flush=True)
    sys.stdin.readline()
    await producer.send_many("flights", [b"w"] * 42)
asyncio.run(main())
"""


@pytest.mark.parametrize("program", [CUT_OFF, CUT_OFF_AWAITING])
def test_what_cannot_be_flushed_is_counted_in_the_log(program: str) -> None:
    with ottla.testing.cluster(topics={"flights": 1}) as cluster:
        ended = run(program, cluster.bootstrap, meanwhile=lambda _: cluster.broker.kill())
        cluster.broker.start()
    assert ended.code == 0
    assert ended.lines == ["known"]
    assert re.search(r"\b42 records", ended.errors), ended.errors
    assert "Traceback" not in ended.errors


NEVER_RAN = """
async def main():
    producer = ottla.Producer(bootstrap, linger_ms=60_000)
    await producer.open()
    await (await producer.send("lingering", b"v"))
    await producer.send_many("lingering", [b"w"] * 7)
asyncio.run(main())
print("ended")
"""


def test_an_asyncio_producer_left_open_has_its_losses_told(cluster: ClusterProcess) -> None:
    cluster.create_topic("lingering")
    ended = run(NEVER_RAN, cluster.bootstrap)
    assert (ended.code, ended.lines) == (0, ["ended"])
    (line,) = ended.errors.splitlines()
    assert line.startswith("a producer was not closed before the interpreter ended: 7 records")
