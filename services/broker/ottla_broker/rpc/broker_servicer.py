"""BrokerService: what a broker does for the admin calls that other brokers took.

Owns the three calls. They stand on the listener that brokers use and on no other, are told by no
reflection, and need the permission of services; where clients share that listener, nothing here
does more than AdminService does for them.
"""

from __future__ import annotations

from ottla.internal.broker.v1 import broker_pb2, broker_pb2_grpc
from ottla_broker.config import BrokerConfig
from ottla_broker.rpc.admin_forwarder import answer_within_ms
from ottla_broker.rpc.broker_calls import Context, passed_on_by_broker
from ottla_broker.rpc.log_directories import LogDirectories
from ottla_broker.rpc.record_deletion import RecordDeletion
from ottla_broker.rpc.static_configs import static_entries
from ottla_runtime.clock import Clock


class BrokerServicer(broker_pb2_grpc.BrokerServiceServicer):
    """Serves BrokerService on one listener."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        deletion: RecordDeletion,
        directories: LogDirectories,
        clock: Clock,
    ) -> None:
        self._config = config
        self._deletion = deletion
        self._directories = directories
        self._clock = clock

    async def DeleteReplicaRecords(
        self, request: broker_pb2.DeleteReplicaRecordsRequest, context: Context
    ) -> broker_pb2.DeleteReplicaRecordsResponse:
        """Move the start of partitions led here, durably."""
        forwarded = passed_on_by_broker(context)
        left_ms = answer_within_ms(context.time_remaining())
        results = await self._deletion.delete_here(
            request.partitions,
            forwarded=forwarded,
            deadline_ms=self._clock.monotonic_ms() + left_ms,
        )
        return broker_pb2.DeleteReplicaRecordsResponse(results=results)

    async def DescribeReplicaDirectories(
        self, request: broker_pb2.DescribeReplicaDirectoriesRequest, context: Context
    ) -> broker_pb2.DescribeReplicaDirectoriesResponse:
        """Describe one page of this broker's log directories."""
        passed_on_by_broker(context)
        return self._directories.own_page(request)

    async def DescribeStaticConfigs(
        self, request: broker_pb2.DescribeStaticConfigsRequest, context: Context
    ) -> broker_pb2.DescribeStaticConfigsResponse:
        """Tell what this broker was started with."""
        passed_on_by_broker(context)
        return broker_pb2.DescribeStaticConfigsResponse(entries=static_entries(self._config))
