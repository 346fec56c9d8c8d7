"""A controller for one broker, whose mistakes and silences a test decides.

Speaks the same contracts as the real one over a real socket, about the cluster of `fake_cluster`,
and does at once what it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from integration.broker.fake_cluster import Change, Delta, FakeCluster

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import (
    InvalidTopic,
    OttlaError,
    StaleBrokerEpoch,
    TopicExists,
    UnknownTopicOrPartition,
)
from ottla.storage.metadata.v1 import metadata_record_pb2 as records
from ottla_runtime.clock import SystemClock
from ottla_runtime.entropy import SystemEntropy
from ottla_runtime.grpc_server import make_aio_server
from ottla_runtime.interceptors import standard_interceptors
from ottla_runtime.interceptors.authorizer import AllowAll


class FakeController(
    FakeCluster, controller_pb2_grpc.ControllerServiceServicer, admin_pb2_grpc.AdminServiceServicer
):
    """Both services of a controller; its attributes are a test's levers."""

    def __init__(self, *, cluster_id: str = "cluster-a") -> None:
        super().__init__(cluster_id=cluster_id)
        self.unfences = True
        self.refusal: OttlaError | None = None
        """What every call fails with, if anything."""
        self.registrations: list[controller_pb2.RegisterBrokerRequest] = []
        self.heartbeats: list[controller_pb2.HeartbeatRequest] = []
        self.directory_failed = asyncio.Event()
        self.registered_again = asyncio.Event()
        self.assigned: list[controller_pb2.DirectoryAssignment] = []
        self.principals: list[str] = []
        self.refused_names: set[str] = set()
        """Topics that can't be created."""
        self.config_entries: list[admin_pb2.ConfigEntry] = []
        """What DescribeConfigs answers for any resource."""
        self.session_timeout_ms = 2_000
        self._server: grpc.aio.Server | None = None
        self.port = 0

    async def start(self) -> int:
        """Serve on an ephemeral port, or again on the one had before."""
        server = make_aio_server(
            interceptors=standard_interceptors(
                clock=SystemClock(),
                entropy=SystemEntropy(),
                authorizer=AllowAll(),
                access_log="none",
                trusts_forwarded=True,
            )
        )
        controller_pb2_grpc.add_ControllerServiceServicer_to_server(self, server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self, server)
        self.port = server.add_insecure_port(f"127.0.0.1:{self.port}")
        await server.start()
        self._server = server
        return self.port

    async def stop(self) -> None:
        """Go away, as a killed process does."""
        if self._server is not None:
            server, self._server = self._server, None
            await server.stop(None)

    # ControllerService

    async def RegisterBroker(
        self, request: controller_pb2.RegisterBrokerRequest, context: Any
    ) -> controller_pb2.RegisterBrokerResponse:
        self._refuse()
        self.registrations.append(request)
        if len(self.registrations) > 1:
            self.registered_again.set()
        self.broker_epoch += 1
        self.brokers[request.node_id] = records.BrokerRecord(
            node_id=request.node_id,
            broker_epoch=self.broker_epoch,
            endpoints=request.endpoints,
            rack=request.rack,
            fenced=True,
        )
        changes = [Change(broker=self.brokers[request.node_id])]
        for record in self.partitions.values():
            if record.leader_id == request.node_id:
                record.leader_epoch += 1
                record.leader_broker_epoch = self.broker_epoch
                changes.append(Change(partition=record))
        self.publish(changes)
        return controller_pb2.RegisterBrokerResponse(
            cluster_id=self.cluster_id,
            broker_epoch=self.broker_epoch,
            controller_epoch=self.epoch,
            session_timeout_ms=self.session_timeout_ms,
            heartbeat_interval_ms=50,
            metadata_version=self.version,
        )

    async def Heartbeat(
        self, request: controller_pb2.HeartbeatRequest, context: Any
    ) -> controller_pb2.HeartbeatResponse:
        self._refuse()
        self.heartbeats.append(request)
        if request.offline_directory_ids:
            self.directory_failed.set()
        broker = self.brokers.get(request.node_id)
        if broker is None or broker.broker_epoch != request.broker_epoch:
            raise StaleBrokerEpoch("another registration is the current one")
        if request.ready and broker.fenced and self.unfences:
            broker.fenced = False
            self.publish([Change(broker=broker)])
        return controller_pb2.HeartbeatResponse(
            fenced=broker.fenced,
            may_shut_down=request.wants_shutdown,
            controller_epoch=self.epoch,
            metadata_version=self.version,
        )

    async def AssignDirectories(
        self, request: controller_pb2.AssignDirectoriesRequest, context: Any
    ) -> controller_pb2.AssignDirectoriesResponse:
        self._refuse()
        self.assigned.extend(request.assignments)
        changes = []
        for each in request.assignments:
            record = self.partitions.get((each.topic_id, each.partition))
            if record is not None:
                record.replicas[0].directory_id = each.directory_id
                changes.append(Change(partition=record))
        self.publish(changes)
        return controller_pb2.AssignDirectoriesResponse(metadata_version=self.version)

    async def WatchClusterMetadata(
        self, request: controller_pb2.WatchClusterMetadataRequest, context: Any
    ) -> AsyncIterator[controller_pb2.WatchClusterMetadataResponse]:
        self._refuse()
        queue: asyncio.Queue[Delta | None] = asyncio.Queue()
        self.watchers.append(queue)
        try:
            for message in self.snapshot():
                yield message
            while (delta := await queue.get()) is not None:
                version, changes = delta
                yield controller_pb2.WatchClusterMetadataResponse(
                    version=version, controller_epoch=self.epoch, changes=changes
                )
        finally:
            self.watchers.remove(queue)

    # AdminService, as far as brokers use it themselves

    async def CreateTopics(
        self, request: admin_pb2.CreateTopicsRequest, context: Any
    ) -> admin_pb2.CreateTopicsResponse:
        self._refuse()
        self._heard(context)
        results = []
        for topic in request.topics:
            result = admin_pb2.CreateTopicResult(name=topic.name)
            if topic.name in self.refused_names:
                result.error.CopyFrom(to_proto(InvalidTopic(f"{topic.name} can't be")))
            elif topic.name in self.topics:
                result.error.CopyFrom(to_proto(TopicExists(f"{topic.name} exists")))
            else:
                result.topic_id = self.create_topic(
                    topic.name, partition_count=topic.partition_count or 1, configs=topic.configs
                )
            results.append(result)
        return admin_pb2.CreateTopicsResponse(results=results, metadata_version=self.version)

    async def DeleteTopics(
        self, request: admin_pb2.DeleteTopicsRequest, context: Any
    ) -> admin_pb2.DeleteTopicsResponse:
        self._refuse()
        self._heard(context)
        results = []
        for ref in request.topics:
            result = admin_pb2.DeleteTopicResult(name=ref.name)
            if ref.name in self.topics:
                self.delete_topic(ref.name)
            else:
                missing = UnknownTopicOrPartition(f"there is no topic {ref.name}")
                result.error.CopyFrom(to_proto(missing))
            results.append(result)
        return admin_pb2.DeleteTopicsResponse(results=results, metadata_version=self.version)

    async def ListTopics(
        self, request: admin_pb2.ListTopicsRequest, context: Any
    ) -> admin_pb2.ListTopicsResponse:
        self._refuse()
        self._heard(context)
        listings = [admin_pb2.TopicListing(name=name) for name in sorted(self.topics)]
        return admin_pb2.ListTopicsResponse(topics=listings)

    async def DescribeConfigs(
        self, request: admin_pb2.DescribeConfigsRequest, context: Any
    ) -> admin_pb2.DescribeConfigsResponse:
        self._refuse()
        self._heard(context)
        results = [
            admin_pb2.DescribeConfigsResult(resource=each, entries=self.config_entries, version=1)
            for each in request.resources
        ]
        return admin_pb2.DescribeConfigsResponse(results=results)

    def _refuse(self) -> None:
        if self.refusal is not None:
            raise self.refusal

    def _heard(self, context: Any) -> None:
        metadata = dict(context.invocation_metadata())
        self.principals.append(metadata.get("ottla-forwarded-principal", ""))
