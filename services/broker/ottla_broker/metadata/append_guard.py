"""What a leader that lost the controller must refuse.

Owns the rule: without a session a broker refuses acks 0 and 1, since another may lead by now and
nobody would notice; it refuses acks=all too where there are other replicas but the in-sync set is
itself alone. With other in-sync members acks=all goes on: their epoch check protects it. With one
replica in all nobody can have taken over. Pure.
"""

from __future__ import annotations

from ottla.protocol.errors import LeaderNotAvailable
from ottla.protocol.ids import NodeId
from ottla_broker.core.append_checks import Acks
from ottla_broker.metadata.views import PartitionView


def check_may_append(view: PartitionView, acks: Acks, *, node_id: NodeId, lease_held: bool) -> None:
    """Returns if a leader may append under these acks.

    Raises:
        LeaderNotAvailable: the broker lost its session, and the append could be lost unnoticed.
    """
    if lease_held:
        return
    alone = set(view.isr) <= {node_id}
    if acks is Acks.ALL and (len(view.replicas) == 1 or not alone):
        return
    raise LeaderNotAvailable(
        "the leader has lost the controller, so it can't know whether it still leads",
        metadata={"partition": view.partition},
    )
