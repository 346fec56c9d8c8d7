"""The admin client: topics, settings and the cluster, through any broker.

Owns the one class that applications use; the calls are in the modules of its parts.
"""

from __future__ import annotations

from ottla.client.admin_cluster import ClusterAdmin
from ottla.client.admin_configs import ConfigAdmin
from ottla.client.admin_topics import TopicAdmin


class Admin(TopicAdmin, ConfigAdmin, ClusterAdmin):
    """Operates a cluster. Belongs to the event loop it was opened on.

    Example:
        async with ottla.Admin("127.0.0.1:9092") as admin:
            await admin.create_topic("flights", partition_count=3)

    Calls about many items answer a result each, in the order asked; the call itself fails only
    as a whole. Methods about one item raise its error.
    """
