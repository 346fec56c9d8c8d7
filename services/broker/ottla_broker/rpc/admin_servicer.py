"""AdminService at a broker: every call passed on to the active controller.

Owns which calls change something, which answers carry a version to wait for, and the two that
stream. Limits and meaning are the controller's; `admin_forwarder` has the way there.
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
from ottla_broker.rpc.admin_forwarder import AdminForwarder, PickMethod
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

    def __init__(self, forwarder: AdminForwarder) -> None:
        self._forwarder = forwarder

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
        return await self._ask(admin_pb2.DeleteRecordsResponse, request, context)

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
        """Describe settings."""
        return await self._ask(admin_pb2.DescribeConfigsResponse, request, context)

    async def DescribeLogDirectories(
        self, request: admin_pb2.DescribeLogDirectoriesRequest, context: Context
    ) -> admin_pb2.DescribeLogDirectoriesResponse:
        """Describe log directories."""
        return await self._ask(admin_pb2.DescribeLogDirectoriesResponse, request, context)

    async def ExportMetadata(
        self, request: admin_pb2.ExportMetadataRequest, context: Context
    ) -> AsyncIterator[admin_pb2.ExportMetadataResponse]:
        """Pass the controller's chunks on."""
        call = Stub(self._forwarder.channel()).ExportMetadata(
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
        call = Stub(self._forwarder.channel()).ImportMetadata(
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
        answer = await self._forwarder.call(
            _method(answer_type),
            request,
            principal=_principal(context),
            deadline_ms=self._forwarder.deadline_ms(context.time_remaining()),
            changes=False,
        )
        assert isinstance(answer, answer_type), answer
        return answer

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
        answer = await self._forwarder.call(
            _method(answer_type),
            request,
            principal=principal,
            deadline_ms=deadline_ms,
            changes=True,
        )
        assert isinstance(answer, answer_type), answer
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


def _method(answer_type: type[Message]) -> PickMethod:
    """Picks the call whose answer is of this type: the contracts name answers after their RPC."""
    name = answer_type.DESCRIPTOR.name.removesuffix("Response")
    return lambda channel: getattr(Stub(channel), name)


def _principal(context: Context) -> str:
    return principal_of(context.invocation_metadata(), trusts_forwarded=False)


def _on_behalf(context: Context) -> tuple[tuple[str, str], ...]:
    return forwarding_metadata(_principal(context))
