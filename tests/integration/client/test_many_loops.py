"""One event loop after the other, as an application that calls `asyncio.run` again and again."""

from __future__ import annotations

import pytest
from integration.blocking.cluster_process import cluster_process
from integration.blocking.programs import run

LOOP_AFTER_LOOP = """
import gc, weakref
loops = weakref.WeakSet()

async def use():
    loops.add(asyncio.get_running_loop())
    async with ottla.Producer(bootstrap) as producer, ottla.Consumer(bootstrap) as consumer:
        await (await producer.send("loops", b"v"))
        await consumer.assign(["loops"])
        await consumer.position(("loops", 0))

for _ in range(20):
    asyncio.run(use())
gc.collect()
print(len(loops))
"""


@pytest.mark.slow
def test_loops_that_ended_are_let_go() -> None:
    with cluster_process() as cluster:
        cluster.create_topic("loops")
        ended = run(LOOP_AFTER_LOOP, cluster.bootstrap)
    assert ended.errors == ""
    assert int(ended.lines[0]) <= 1  # gRPC may still know the last one
