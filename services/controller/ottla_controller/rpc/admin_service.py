"""AdminService: what operators ask of a cluster, usually passed on by a broker.

Owns taking requests apart and putting answers together; decisions are the core's. What changes
something runs in the active controller's term; what only reads is answered by every controller.
Raised errors become statuses in the runtime's interceptor.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Any, Final, NoReturn

import grpc

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.protocol.errors import InvalidRequest, OttlaError, UnsupportedVersion
from ottla_controller.control.controller import Controller
from ottla_controller.core import limits
from ottla_controller.core.describing import describe_topics
from ottla_controller.core.listing import describe_cluster, list_topics
from ottla_controller.core.topic_creation import (
    Creation,
    CreationRules,
    cohorts,
    create_topics,
    failed,
)
from ottla_controller.core.topic_deletion import delete_topics
from ottla_controller.core.topic_drafts import TopicDraft, check_items, names_asked_twice
from ottla_runtime.entropy import Entropy

_SEED_SIZE: Final = 8
_Context = grpc.aio.ServicerContext[Any, Any]


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """The RPCs, called by the server's tasks."""

    def __init__(self, controller: Controller, *, rules: CreationRules, entropy: Entropy) -> None:
        self._controller = controller
        self._rules = rules
        self._entropy = entropy

    async def CreateTopics(
        self, request: admin_pb2.CreateTopicsRequest, context: _Context
    ) -> admin_pb2.CreateTopicsResponse:
        check_items(request.topics)
        term = self._controller.term()
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
            written = await term.write(handler)
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
        written = await self._controller.term().write(handler)
        return admin_pb2.DeleteTopicsResponse(
            results=written.response,
            metadata_version=self._controller.image.version_at(written.revision),
        )

    async def ListTopics(
        self, request: admin_pb2.ListTopicsRequest, context: _Context
    ) -> admin_pb2.ListTopicsResponse:
        return list_topics(self._controller.image.state, request)

    async def DescribeTopics(
        self, request: admin_pb2.DescribeTopicsRequest, context: _Context
    ) -> admin_pb2.DescribeTopicsResponse:
        return describe_topics(self._controller.image.state, request)

    async def DescribeCluster(
        self, request: admin_pb2.DescribeClusterRequest, context: _Context
    ) -> admin_pb2.DescribeClusterResponse:
        epoch = self._controller.active_epoch
        response = describe_cluster(
            self._controller.image.state,
            active_node_id=self._controller.identity.node_id if epoch else None,
            metadata_store=self._controller.store.kind,
        )
        response.metadata_version.CopyFrom(self._controller.image.version)
        response.controller_epoch = epoch
        return response

    async def CreatePartitions(
        self, request: admin_pb2.CreatePartitionsRequest, context: _Context
    ) -> admin_pb2.CreatePartitionsResponse:
        _refuse("CreatePartitions")

    async def DescribeConfigs(
        self, request: admin_pb2.DescribeConfigsRequest, context: _Context
    ) -> admin_pb2.DescribeConfigsResponse:
        _refuse("DescribeConfigs")

    async def AlterConfigs(
        self, request: admin_pb2.AlterConfigsRequest, context: _Context
    ) -> admin_pb2.AlterConfigsResponse:
        _refuse("AlterConfigs")

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
        _refuse("ExportMetadata")
        yield admin_pb2.ExportMetadataResponse()  # makes it a stream

    async def ImportMetadata(
        self, request_iterator: AsyncIterator[admin_pb2.ImportMetadataRequest], context: _Context
    ) -> admin_pb2.ImportMetadataResponse:
        _refuse("ImportMetadata")

    def _creation(self, draft: TopicDraft) -> Creation:
        return Creation(
            draft=draft,
            topic_id=self._entropy.token_bytes(limits.ID_SIZE),
            seed=int.from_bytes(self._entropy.token_bytes(_SEED_SIZE)),
        )


def _refuse(operation: str) -> NoReturn:
    raise UnsupportedVersion(f"this release of the controller does not know {operation} yet")
