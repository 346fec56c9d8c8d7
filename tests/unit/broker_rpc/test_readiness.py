"""When a broker that was let in is ready."""

from __future__ import annotations

import asyncio

from kit.clock import settle
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.readiness import awaits_leader, settled
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion

from .cluster_messages import partition, topic

ME = NodeId(1)


def test_only_a_partition_this_broker_could_lead_is_waited_for() -> None:
    table = ClusterTable()
    table.apply([topic(1, "a"), partition(1, leader=2, replicas=(1, 2))])
    table.apply([topic(2, "b"), partition(2, leader=None, replicas=(1, 2), isr=(2,))])
    assert not awaits_leader(table, ME)
    table.apply([partition(2, 1, leader=None, replicas=(1, 2), isr=(1, 2))])
    assert awaits_leader(table, ME)


async def test_a_broker_is_ready_once_its_partitions_have_leaders() -> None:
    table, applied = ClusterTable(), VersionWaiters()
    table.apply([topic(1, "a"), partition(1, leader=None)])
    async with asyncio.TaskGroup() as group:
        waiting = settled(table, applied, node_id=ME, version=ClusterVersion(1, 5))
        task = group.create_task(waiting, name="settled")
        applied.reached(ClusterVersion(1, 5))
        await settle()
        assert not task.done()
        table.apply([partition(1, leader=1)])
        applied.reached(ClusterVersion(1, 6))
    assert task.result()
