"""AdminService: what operators ask of a cluster, usually passed on by a broker.

Owns taking requests apart and putting answers together; decisions are the core's. What changes
something runs in the active controller's term; what only reads is answered by every controller.
Export and import are `metadata_transfer`'s. Raised errors become statuses in the runtime's
interceptor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final, NoReturn

import grpc

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.protocol.errors import InvalidRequest, OttlaError, UnsupportedVersion
from ottla_controller.control.controller import Controller
from ottla_controller.control.write_queue import Handler, Response, Written
from ottla_controller.core import limits
from ottla_controller.core.config_altering import alter_configs
from ottla_controller.core.config_describing import describe_configs
from ottla_controller.core.describing import describe_topics
from ottla_controller.core.import_writing import refuse_while_importing
from ottla_controller.core.listing import describe_cluster, list_topics
from ottla_controller.core.result import Result
from ottla_controller.core.state import ClusterState
from ottla_controller.core.topic_creation import (
    Creation,
    CreationRules,
    cohorts,
    create_topics,
    failed,
)
from ottla_controller.core.topic_deletion import delete_topics
from ottla_controller.core.topic_drafts import TopicDraft, check_items, names_asked_twice
from ottla_controller.core.topic_growth import cohorts as growth_cohorts
from ottla_controller.core.topic_growth import grow_topics
from ottla_controller.rpc.metadata_transfer import MetadataTransfer
from ottla_runtime.entropy import Entropy

_SEED_SIZE: Final = 8
_Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """The RPCs, called by the server's tasks."""

    def __init__(self, controller: Controller, *, rules: CreationRules, entropy: Entropy) -> None:
        self._controller = controller
        self._rules = rules
        self._entropy = entropy
        self._transfer = MetadataTransfer(
            controller, cluster_partitions_max=rules.cluster_partitions_max
        )

    async def CreateTopics(
        self, request: admin_pb2.CreateTopicsRequest, context: _Context
    ) -> admin_pb2.CreateTopicsResponse:
        check_items(request.topics)
        self._controller.term()
        twice = names_asked_twice(request.topics)
        results: dict[int, admin_pb2.CreateTopicResult] = {}
        creations: list[Creation] = []
        numbers: list[int] = []
        for number, topic in enumerate(request.topics):
            try:
                if topic.name in twice:
                    raise InvalidRequest(f"topic {topic.name[:64]!r} is asked for more than once")
                creations.append(self._creation(TopicDraft.of(topic)))
                numbers.append(number)
            except OttlaError as error:
                results[number] = failed(topic.name, error)
        revision = self._controller.image.visible_revision
        created: list[admin_pb2.CreateTopicResult] = []
        for cohort in cohorts(creations, self._rules):
            handler = partial(
                create_topics,
                creations=cohort,
                rules=self._rules,
                validate_only=request.validate_only,
            )
            written = await self._write(handler)
            created += written.response
            revision = max(revision, written.revision)
        results.update(zip(numbers, created, strict=True))
        return admin_pb2.CreateTopicsResponse(
            results=[results[number] for number in range(len(request.topics))],
            metadata_version=self._controller.image.version_at(revision),
        )

    async def DeleteTopics(
        self, request: admin_pb2.DeleteTopicsRequest, context: _Context
    ) -> admin_pb2.DeleteTopicsResponse:
        check_items(request.topics)
        handler = partial(delete_topics, refs=request.topics, validate_only=request.validate_only)
        written = await self._write(handler)
        return admin_pb2.DeleteTopicsResponse(
            results=written.response,
            metadata_version=self._controller.image.version_at(written.revision),
        )

    async def ListTopics(
        self, request: admin_pb2.ListTopicsRequest, context: _Context
    ) -> admin_pb2.ListTopicsResponse:
        return list_topics(self._state, request)

    async def DescribeTopics(
        self, request: admin_pb2.DescribeTopicsRequest, context: _Context
    ) -> admin_pb2.DescribeTopicsResponse:
        return describe_topics(self._state, request)

    async def DescribeCluster(
        self, request: admin_pb2.DescribeClusterRequest, context: _Context
    ) -> admin_pb2.DescribeClusterResponse:
        active = self._controller.active()
        response = describe_cluster(
            self._state,
            active_node_id=active.node_id if active else None,
            metadata_store=self._controller.store.kind,
        )
        response.metadata_version.CopyFrom(self._controller.image.version)
        response.controller_epoch = active.controller_epoch if active else 0
        return response

    async def CreatePartitions(
        self, request: admin_pb2.CreatePartitionsRequest, context: _Context
    ) -> admin_pb2.CreatePartitionsResponse:
        check_items(request.topics)
        revision = self._controller.image.visible_revision
        results: list[admin_pb2.CreatePartitionsResult] = []
        for cohort in growth_cohorts(request.topics):
            handler = partial(
                grow_topics,
                growths=cohort,
                cluster_partitions_max=self._rules.cluster_partitions_max,
                validate_only=request.validate_only,
            )
            written = await self._write(handler)
            results += written.response
            revision = max(revision, written.revision)
        return admin_pb2.CreatePartitionsResponse(
            results=results, metadata_version=self._controller.image.version_at(revision)
        )

    async def DescribeConfigs(
        self, request: admin_pb2.DescribeConfigsRequest, context: _Context
    ) -> admin_pb2.DescribeConfigsResponse:
        return describe_configs(self._state, request)

    async def AlterConfigs(
        self, request: admin_pb2.AlterConfigsRequest, context: _Context
    ) -> admin_pb2.AlterConfigsResponse:
        check_items(request.resources, field="resources")
        handler = partial(
            alter_configs, resources=request.resources, validate_only=request.validate_only
        )
        written = await self._write(handler)
        return admin_pb2.AlterConfigsResponse(
            results=written.response,
            metadata_version=self._controller.image.version_at(written.revision),
        )

    async def DeleteRecords(
        self, request: admin_pb2.DeleteRecordsRequest, context: _Context
    ) -> admin_pb2.DeleteRecordsResponse:
        _refuse("DeleteRecords")

    async def DescribeLogDirectories(
        self, request: admin_pb2.DescribeLogDirectoriesRequest, context: _Context
    ) -> admin_pb2.DescribeLogDirectoriesResponse:
        _refuse("DescribeLogDirectories")

    async def ExportMetadata(
        self, request: admin_pb2.ExportMetadataRequest, context: _Context
    ) -> AsyncIterator[admin_pb2.ExportMetadataResponse]:
        async for chunk in self._transfer.exported():
            yield chunk

    async def ImportMetadata(
        self, request_iterator: AsyncIterator[admin_pb2.ImportMetadataRequest], context: _Context
    ) -> admin_pb2.ImportMetadataResponse:
        return await self._transfer.imported(request_iterator)

    @property
    def _state(self) -> ClusterState:
        """What is to be seen; raises `MetadataStoreUnavailable` while that is not decided."""
        refuse_while_importing(self._controller.image.state)
        return self._controller.image.state

    async def _write(self, handler: Handler[Response]) -> Written[Response]:
        def guarded(state: ClusterState) -> Result[Response]:
            refuse_while_importing(state)
            return handler(state)

        return await self._controller.term().write(guarded)

    def _creation(self, draft: TopicDraft) -> Creation:
        return Creation(
            draft=draft,
            topic_id=self._entropy.token_bytes(limits.ID_SIZE),
            seed=int.from_bytes(self._entropy.token_bytes(_SEED_SIZE)),
        )


def _refuse(operation: str) -> NoReturn:
    raise UnsupportedVersion(f"the controller holds no records; ask a broker for {operation}")
