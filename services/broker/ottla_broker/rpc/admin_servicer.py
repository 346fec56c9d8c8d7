"""AdminService at a broker: passed on to the active controller, or to brokers that have the logs.

Owns which calls change something, which answers carry a version to wait for, and the two that
stream. What is passed on is limited and given its meaning by the controller; `admin_forwarder` has
the way there. Records are `record_deletion`'s, directories `log_directories`', settings of brokers
`config_descriptions`'.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Protocol, TypeVar, cast

import grpc
from google.protobuf.message import Message

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.cluster.v1 import cluster_pb2
from ottla.protocol.errors import OttlaError
from ottla_broker.rpc.admin_forwarder import AdminForwarder
from ottla_broker.rpc.config_descriptions import ConfigDescriptions
from ottla_broker.rpc.log_directories import LogDirectories
from ottla_broker.rpc.record_deletion import RecordDeletion
from ottla_runtime.interceptors.principal import forwarding_metadata, principal_of

Context = grpc.aio.ServicerContext[Any, Any]
Stub = admin_pb2_grpc.AdminServiceStub
_Answer = TypeVar("_Answer", bound=Message)


class _Versioned(Protocol):
    """Answers to changes: they say which version of the metadata shows them."""

    @property
    def metadata_version(self) -> cluster_pb2.MetadataVersion: ...


class AdminServicer(admin_pb2_grpc.AdminServiceServicer):
    """Serves AdminService on one listener."""

    def __init__(
        self,
        forwarder: AdminForwarder,
        *,
        deletion: RecordDeletion,
        directories: LogDirectories,
        configs: ConfigDescriptions,
    ) -> None:
        self._forwarder = forwarder
        self._deletion = deletion
        self._directories = directories
        self._configs = configs

    async def create_topics(
        self, request: admin_pb2.CreateTopicsRequest, principal: str
    ) -> admin_pb2.CreateTopicsResponse:
        """Create topics on this broker's own account, such as automatically."""
        return await self._changed(admin_pb2.CreateTopicsResponse, request, principal, None)

    async def CreateTopics(
        self, request: admin_pb2.CreateTopicsRequest, context: Context
    ) -> admin_pb2.CreateTopicsResponse:
        """Return once the topics show here."""
        return await self._change(admin_pb2.CreateTopicsResponse, request, context)

    async def DeleteTopics(
        self, request: admin_pb2.DeleteTopicsRequest, context: Context
    ) -> admin_pb2.DeleteTopicsResponse:
        """Return once the topics no longer show here."""
        return await self._change(admin_pb2.DeleteTopicsResponse, request, context)

    async def CreatePartitions(
        self, request: admin_pb2.CreatePartitionsRequest, context: Context
    ) -> admin_pb2.CreatePartitionsResponse:
        """Return once the partitions show here."""
        return await self._change(admin_pb2.CreatePartitionsResponse, request, context)

    async def AlterConfigs(
        self, request: admin_pb2.AlterConfigsRequest, context: Context
    ) -> admin_pb2.AlterConfigsResponse:
        """Return once the settings hold here."""
        return await self._change(admin_pb2.AlterConfigsResponse, request, context)

    async def DeleteRecords(
        self, request: admin_pb2.DeleteRecordsRequest, context: Context
    ) -> admin_pb2.DeleteRecordsResponse:
        """Have leaders move the start of partitions; twice is as good as once."""
        results = await self._deletion.delete(
            request.partitions,
            principal=_principal(context),
            deadline_ms=self._forwarder.deadline_ms(context.time_remaining()),
        )
        return admin_pb2.DeleteRecordsResponse(results=results)

    async def ListTopics(
        self, request: admin_pb2.ListTopicsRequest, context: Context
    ) -> admin_pb2.ListTopicsResponse:
        """List topics."""
        return await self._ask(admin_pb2.ListTopicsResponse, request, context)

    async def DescribeTopics(
        self, request: admin_pb2.DescribeTopicsRequest, context: Context
    ) -> admin_pb2.DescribeTopicsResponse:
        """Describe topics."""
        return await self._ask(admin_pb2.DescribeTopicsResponse, request, context)

    async def DescribeCluster(
        self, request: admin_pb2.DescribeClusterRequest, context: Context
    ) -> admin_pb2.DescribeClusterResponse:
        """Describe the cluster."""
        return await self._ask(admin_pb2.DescribeClusterResponse, request, context)

    async def DescribeConfigs(
        self, request: admin_pb2.DescribeConfigsRequest, context: Context
    ) -> admin_pb2.DescribeConfigsResponse:
        """Describe settings, those that brokers were started with too."""
        return await self._configs.page(
            request,
            principal=_principal(context),
            deadline_ms=self._forwarder.deadline_ms(context.time_remaining()),
        )

    async def DescribeLogDirectories(
        self, request: admin_pb2.DescribeLogDirectoriesRequest, context: Context
    ) -> admin_pb2.DescribeLogDirectoriesResponse:
        """Have brokers describe their log directories."""
        return await self._directories.page(
            request,
            principal=_principal(context),
            deadline_ms=self._forwarder.deadline_ms(context.time_remaining()),
        )

    async def ExportMetadata(
        self, request: admin_pb2.ExportMetadataRequest, context: Context
    ) -> AsyncIterator[admin_pb2.ExportMetadataResponse]:
        """Pass the controller's chunks on."""
        async with self._forwarder.streaming(changes=False) as channel:
            call = Stub(channel).ExportMetadata(
                request, timeout=context.time_remaining(), metadata=_on_behalf(context)
            )
            try:
                async for chunk in call:
                    yield chunk
            finally:
                call.cancel()

    async def ImportMetadata(
        self,
        request_iterator: AsyncIterator[admin_pb2.ImportMetadataRequest],
        context: Context,
    ) -> admin_pb2.ImportMetadataResponse:
        """Pass the client's chunks on, and return once what they brought shows here."""
        deadline_ms = self._forwarder.deadline_ms(context.time_remaining())
        requests = _PassedOn(request_iterator)
        async with self._forwarder.streaming(changes=True) as channel:
            call = Stub(channel).ImportMetadata(
                requests.each(), timeout=context.time_remaining(), metadata=_on_behalf(context)
            )
            try:
                response: admin_pb2.ImportMetadataResponse = await call
            except asyncio.CancelledError:
                requests.check()  # grpc cancels a call whose requests fail
                raise
            finally:
                call.cancel()
        await self._forwarder.visible(response.metadata_version, deadline_ms=deadline_ms)
        return response

    async def _ask(self, answer_type: type[_Answer], request: Message, context: Context) -> _Answer:
        """Pass on what may be repeated."""
        return await self._forwarder.ask(
            answer_type,
            request,
            principal=_principal(context),
            deadline_ms=self._forwarder.deadline_ms(context.time_remaining()),
        )

    async def _change(
        self, answer_type: type[_Answer], request: Message, context: Context
    ) -> _Answer:
        """Pass on a change, and wait until it shows here."""
        left_seconds = context.time_remaining()
        principal = _principal(context)
        return await self._changed(answer_type, request, principal, left_seconds)

    async def _changed(
        self,
        answer_type: type[_Answer],
        request: Message,
        principal: str,
        left_seconds: float | None,
    ) -> _Answer:
        deadline_ms = self._forwarder.deadline_ms(left_seconds)
        answer = await self._forwarder.change(
            answer_type, request, principal=principal, deadline_ms=deadline_ms
        )
        version = cast("_Versioned", answer).metadata_version
        await self._forwarder.visible(version, deadline_ms=deadline_ms)
        return answer


class _PassedOn:
    """Requests passed on, and what was wrong with one, if anything."""

    def __init__(self, requests: AsyncIterator[admin_pb2.ImportMetadataRequest]) -> None:
        self._requests = requests
        self._error: OttlaError | None = None

    async def each(self) -> AsyncIterator[admin_pb2.ImportMetadataRequest]:
        """The requests as they come."""
        try:
            async for request in self._requests:
                yield request
        except OttlaError as error:
            self._error = error
            raise

    def check(self) -> None:
        """Raise what was wrong."""
        if self._error is not None:
            raise self._error


def _principal(context: Context) -> str:
    return principal_of(context.invocation_metadata(), trusts_forwarded=False)


def _on_behalf(context: Context) -> tuple[tuple[str, str], ...]:
    return forwarding_metadata(_principal(context))
