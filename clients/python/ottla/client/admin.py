"""The admin client: topics, settings and the cluster, through any broker.

Owns the calls and their pages. A call is repeated while its error says so and time is left; what
is asked for is such that asking twice does no harm.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self, TypeVar

import grpc

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.client.admin_items import (
    ClusterDescription,
    ConfigResult,
    DeletedRecords,
    NewTopic,
    TopicDescription,
    TopicListing,
    TopicResult,
    cluster_description,
    config_resource,
    config_result,
    item_error,
    listing,
    topic_description,
)
from ottla.client.calls import Patience
from ottla.client.clock import SystemClock
from ottla.client.cluster_access import ClusterAccess
from ottla.client.core.positions import TopicPartition
from ottla.client.rpc_errors import readable
from ottla.client.setting_bounds import check_bounds
from ottla.client.tls import Tls
from ottla.protocol.errors import OttlaError

Answer = TypeVar("Answer")


class Admin:
    """Operates a cluster. Belongs to the event loop it was opened on.

    Example:
        async with ottla.Admin("127.0.0.1:9092") as admin:
            await admin.create_topic("flights", partition_count=3)

    Calls about many items answer a result each, in the order asked; the call itself fails only
    as a whole. Methods about one item raise its error.
    """

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        timeout_ms: int = 30_000,
        tls: Tls | None = None,
    ) -> None:
        """Checks the addresses; nothing is connected before the client is opened.

        Args:
            bootstrap: broker addresses, `host[:port],…`.
            timeout_ms: from a call's first try to its last answer.
            tls: makes connections encrypted.

        Raises:
            InvalidRequest, InvalidConfig: the addresses cannot be read; a time out of bounds.
        """
        patience, clock = _patience(timeout_ms), SystemClock()
        self._access = ClusterAccess(
            bootstrap, tls=tls, patience=patience, clock=clock, chance=random.Random()
        )

    async def open(self) -> None:
        """Begin; `async with` does it. Raises Unreachable if no address resolves."""
        await self._access.open()

    async def close(self) -> None:
        """End. Again: nothing."""
        self._access.check_process()
        await self._access.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _ask(
        self,
        call: Callable[[admin_pb2_grpc.AdminServiceAsyncStub, float], Awaitable[Answer]],
    ) -> Answer:
        """One call, made on the stub until its answer is final."""
        self._access.check_usable()

        async def attempt(channel: grpc.aio.Channel, timeout_seconds: float) -> Answer:
            stub: admin_pb2_grpc.AdminServiceAsyncStub = admin_pb2_grpc.AdminServiceStub(channel)
            return readable(await call(stub, timeout_seconds))

        return await self._access.caller.call(attempt)

    # Topics

    async def create_topic(
        self,
        name: str,
        *,
        partition_count: int = 0,
        replication_factor: int = 0,
        configs: Mapping[str, str] | None = None,
    ) -> TopicResult:
        """Create one topic; again, as it is: succeeds. Returns once it is visible.

        Raises:
            TopicExists: there is another of that name.
            OttlaError: it can't be created.
        """
        topic = NewTopic(name, partition_count, replication_factor, configs or {})
        return _sole(await self.create_topics([topic]))

    async def create_topics(
        self, topics: Iterable[NewTopic], *, validate_only: bool = False
    ) -> list[TopicResult]:
        """Create topics, at most 1,000; with `validate_only` check alone."""
        request = admin_pb2.CreateTopicsRequest(
            topics=[topic.message() for topic in topics], validate_only=validate_only
        )
        answer = await self._ask(lambda stub, left: stub.CreateTopics(request, timeout=left))
        return [
            TopicResult(
                each.name,
                each.topic_id,
                each.partition_count,
                each.replication_factor,
                item_error(each),
            )
            for each in answer.results
        ]

    async def delete_topic(self, name: str) -> TopicResult:
        """Delete one topic with all its records. Raises UnknownTopicOrPartition."""
        return _sole(await self.delete_topics([name]))

    async def delete_topics(
        self, names: Iterable[str], *, validate_only: bool = False
    ) -> list[TopicResult]:
        """Delete topics with all their records, at most 1,000."""
        request = admin_pb2.DeleteTopicsRequest(
            topics=[admin_pb2.TopicRef(name=name) for name in names], validate_only=validate_only
        )
        answer = await self._ask(lambda stub, left: stub.DeleteTopics(request, timeout=left))
        return [
            TopicResult(each.name, each.topic_id, 0, 0, item_error(each)) for each in answer.results
        ]

    async def create_partitions(
        self, counts: Mapping[str, int], *, validate_only: bool = False
    ) -> list[TopicResult]:
        """Bring topics to so many partitions in all, never fewer than they have."""
        request = admin_pb2.CreatePartitionsRequest(
            topics=[
                admin_pb2.NewPartitions(
                    topic=admin_pb2.TopicRef(name=name), partition_count=partition_count
                )
                for name, partition_count in counts.items()
            ],
            validate_only=validate_only,
        )
        answer = await self._ask(lambda stub, left: stub.CreatePartitions(request, timeout=left))
        return [
            TopicResult(each.name, b"", each.partition_count, 0, item_error(each))
            for each in answer.results
        ]

    async def list_topics(
        self, *, prefix: str = "", include_internal: bool = False
    ) -> list[TopicListing]:
        """All topics, by name."""
        found: list[TopicListing] = []
        request = admin_pb2.ListTopicsRequest(prefix=prefix, include_internal=include_internal)
        while True:
            answer = await self._ask(lambda stub, left: stub.ListTopics(request, timeout=left))
            found += map(listing, answer.topics)
            if not answer.next_page_token:
                return found
            request.page_token = answer.next_page_token

    async def describe_topics(self, names: Iterable[str] = ()) -> list[TopicDescription]:
        """Partitions, replicas and settings of topics, at most 1,000 names; none: of all."""
        found: dict[tuple[str, bytes], TopicDescription] = {}
        request = admin_pb2.DescribeTopicsRequest(
            topics=[admin_pb2.TopicRef(name=name) for name in names]
        )
        while True:
            answer = await self._ask(lambda stub, left: stub.DescribeTopics(request, timeout=left))
            for each in map(topic_description, answer.topics):
                known = found.setdefault((each.name, each.topic_id), each)
                if known is not each:  # it goes on on this page
                    known.partitions += each.partitions
            if not answer.next_page_token:
                return list(found.values())
            request.page_token = answer.next_page_token

    async def delete_records(
        self, before_offsets: Mapping[TopicPartition | tuple[str, int], int]
    ) -> list[DeletedRecords]:
        """Give up what lies below an offset in each partition; -1: all that is committed."""
        request = admin_pb2.DeleteRecordsRequest(
            partitions=[
                admin_pb2.RecordsToDelete(
                    topic=admin_pb2.TopicRef(name=topic), partition=partition, before_offset=offset
                )
                for (topic, partition), offset in before_offsets.items()
            ]
        )
        answer = await self._ask(lambda stub, left: stub.DeleteRecords(request, timeout=left))
        return [
            DeletedRecords(each.topic, each.partition, each.log_start_offset, item_error(each))
            for each in answer.results
        ]

    # The cluster and settings

    async def describe_cluster(self) -> ClusterDescription:
        """Brokers, controllers and counts."""
        request = admin_pb2.DescribeClusterRequest()
        return cluster_description(
            await self._ask(lambda stub, left: stub.DescribeCluster(request, timeout=left))
        )

    async def describe_configs(
        self, kind: str, name: str = "", *, names: Iterable[str] = ()
    ) -> ConfigResult:
        """Settings of a "topic" or "broker" by name, or of the "cluster". Raises OttlaError."""
        request = admin_pb2.DescribeConfigsRequest(
            resources=[config_resource(kind, name)], names=names
        )
        answer = await self._ask(lambda stub, left: stub.DescribeConfigs(request, timeout=left))
        return _sole([config_result(each) for each in answer.results])

    async def alter_configs(
        self,
        kind: str,
        name: str = "",
        *,
        values: Mapping[str, str | None],
        expected_version: int = 0,
        validate_only: bool = False,
    ) -> None:
        """Set settings, or unset those whose value is None; all or none.

        Raises:
            InvalidConfig: a setting is unknown or its value not allowed.
            VersionConflict: they are not of `expected_version`; 0 is not checked.
        """
        request = admin_pb2.AlterConfigsRequest(validate_only=validate_only)
        alterations = request.resources.add(
            resource=config_resource(kind, name), expected_version=expected_version
        )
        for setting, value in values.items():
            operation = (
                admin_pb2.CONFIG_OPERATION_UNSET
                if value is None
                else admin_pb2.CONFIG_OPERATION_SET
            )
            alterations.alterations.add(name=setting, operation=operation, value=value or "")
        answer = await self._ask(lambda stub, left: stub.AlterConfigs(request, timeout=left))
        for each in answer.results:
            error = item_error(each)
            if error is not None:
                raise error


def _patience(timeout_ms: int) -> Patience:
    check_bounds("timeout_ms", timeout_ms, 1, 2**31)
    return Patience(call_ms=timeout_ms)


_Result = TypeVar("_Result", TopicResult, ConfigResult)


def _sole(results: Sequence[_Result]) -> _Result:
    """The one result of a call about one item. Raises its error."""
    if len(results) != 1:
        raise OttlaError(f"the cluster answered {len(results)} results to one question")
    if results[0].error is not None:
        raise results[0].error
    return results[0]
