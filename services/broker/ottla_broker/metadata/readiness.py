"""When a broker that was let in may be called ready.

Owns the condition: the replicas are as the metadata said when the broker was let in, and none of
which it is an in-sync member waits for a leader; or a bound is over. A latch: what comes later is
no matter of readiness. Otherwise one partition that can't have a leader would keep all of its
holders unready and block the rollout that could mend it.
"""

from __future__ import annotations

import asyncio

from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion

SETTLE_SECONDS_MAX = 5.0


def awaits_leader(table: ClusterTable, node_id: NodeId) -> bool:
    """Whether a partition that this broker could lead has no leader."""
    return any(
        view.leader_id is None and node_id in view.isr
        for entry in table.topics()
        for view in entry.partitions.values()
    )


async def settled(
    table: ClusterTable, applied: VersionWaiters, *, node_id: NodeId, version: ClusterVersion
) -> bool:
    """Return once the broker's partitions have leaders (True), or the bound is over (False).

    Args:
        table: the metadata.
        applied: which version the replicas are at.
        node_id: this broker.
        version: the metadata's version when the broker was let in.
    """
    try:
        async with asyncio.timeout(SETTLE_SECONDS_MAX):
            await applied.wait_for(version)
            while awaits_leader(table, node_id):
                shown = applied.version
                await applied.wait_for(ClusterVersion(shown.generation, shown.revision + 1))
    except TimeoutError:
        return False
    return True
