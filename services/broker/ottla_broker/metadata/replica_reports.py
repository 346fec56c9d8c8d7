"""What a broker tells the controller of its replicas: where they are, and what their logs hold.

Owns the calls, in portions, to the active controller. Does not own when they are due, which is for
`replica_sync` to say.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

import grpc
import structlog

from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc
from ottla.protocol.ids import BrokerEpoch, NodeId
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.replica_plan import ReplicaKey
from ottla_broker.replica.partition import Partition as Replica
from ottla_runtime import fields
from ottla_runtime.rpc_errors import error_of

ITEMS_MAX: Final = 1_000
TIMEOUT_SECONDS: Final = 5.0

_logger = structlog.get_logger(__name__)


class ReplicaReports:
    """Belongs to one `ReplicaSync`."""

    def __init__(self, link: ControllerLink, *, node_id: NodeId) -> None:
        self._link = link
        self._node_id = node_id
        self._failing: dict[str, str] = {}
        """What fails, with the reason that was told: it is tried again twice a second."""

    async def assign_directories(
        self, replicas: Sequence[Replica], *, broker_epoch: BrokerEpoch
    ) -> bool:
        """Have the controller store in which directories at most `ITEMS_MAX` replicas are."""
        request = controller_pb2.AssignDirectoriesRequest(
            node_id=self._node_id,
            broker_epoch=broker_epoch,
            assignments=[
                controller_pb2.DirectoryAssignment(
                    topic_id=replica.topic_id,
                    partition=replica.partition,
                    directory_id=replica.directory_id,
                )
                for replica in replicas
            ],
        )
        return await self._call(
            lambda stub: stub.AssignDirectories(request, timeout=TIMEOUT_SECONDS),
            event="directories.assign_failed",
        )

    async def raise_leader_epochs(
        self, floors: Mapping[ReplicaKey, int], *, broker_epoch: BrokerEpoch
    ) -> bool:
        """Have partitions lead under epochs above those that their logs hold."""
        items = [
            controller_pb2.LeaderEpochFloor(
                topic_id=topic_id, partition=partition, leader_epoch=floor
            )
            for (topic_id, partition), floor in floors.items()
        ]
        for first in range(0, len(items), ITEMS_MAX):
            request = controller_pb2.RaiseLeaderEpochsRequest(
                node_id=self._node_id,
                broker_epoch=broker_epoch,
                floors=items[first : first + ITEMS_MAX],
            )
            if not await self._raise(request):
                return False
        return True

    async def _raise(self, request: controller_pb2.RaiseLeaderEpochsRequest) -> bool:
        is_raised = await self._call(
            lambda stub: stub.RaiseLeaderEpochs(request, timeout=TIMEOUT_SECONDS),
            event="leader_epochs.raise_failed",
        )
        if is_raised:
            _logger.warning("leader_epochs.raised", count=len(request.floors))
        return is_raised

    async def _call(
        self,
        call: Callable[[controller_pb2_grpc.ControllerServiceAsyncStub], Awaitable[object]],
        *,
        event: str,
    ) -> bool:
        address = self._link.address
        stub = controller_pb2_grpc.ControllerServiceStub(self._link.channel())
        try:
            await call(stub)
        except grpc.RpcError as error:
            failed = error_of(error)
            if self._failing.get(event) != failed.reason:
                self._failing[event] = failed.reason
                _logger.warning(
                    event, **{fields.REASON: failed.reason, fields.ERROR: failed.message}
                )
            self._link.failed(address, failed)
            return False
        self._failing.pop(event, None)
        return True
