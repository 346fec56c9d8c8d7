"""The real services in your own process, for your tests: `ottla.testing.cluster()`.

    with ottla.testing.cluster(topics={"flights": 3}) as cluster:
        ...  # clients of cluster.bootstrap

Owns starting and stopping them; the services are those of `ottla up`. Needs `ottla[server]`. The
only part of the client distribution that knows services.
"""

from ottla.testing.cluster_context import ClusterContext, cluster
from ottla.testing.cluster_error import ClusterError
from ottla.testing.running_cluster import (
    AsyncCluster,
    AsyncClusterService,
    Cluster,
    ClusterService,
)

__all__ = [
    "AsyncCluster",
    "AsyncClusterService",
    "Cluster",
    "ClusterContext",
    "ClusterError",
    "ClusterService",
    "cluster",
]
