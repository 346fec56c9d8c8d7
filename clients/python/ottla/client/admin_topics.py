"""The admin client's part about topics: made, grown, listed, described, shortened, deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ottla.api.admin.v1 import admin_pb2
from ottla.client.admin_connection import AdminConnection, sole
from ottla.client.admin_items import (
    NewPartitions,
    NewTopic,
    TopicDescription,
    TopicListing,
    TopicResult,
    item_error,
    listing,
    topic_description,
)
from ottla.client.admin_log_items import DeletedRecords
from ottla.client.core.positions import TopicPartition


class TopicAdmin(AdminConnection):
    """Calls about topics."""

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
        return sole(await self.create_topics([topic]))

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
        return sole(await self.delete_topics([name]))

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
        self,
        topics: Mapping[str, int] | Iterable[NewPartitions],
        *,
        validate_only: bool = False,
    ) -> list[TopicResult]:
        """Bring topics, at most 1,000, to so many partitions in all; again: succeeds.

        A key may go to another partition from then on, and order holds within a partition only.

        Example:
            async with ottla.Admin("127.0.0.1:9092") as admin:
                await admin.create_topic("gates", partition_count=1)
                (result,) = await admin.create_partitions({"gates": 3})
                print(result.partition_count)

        Args:
            topics: the number of partitions by name, never fewer than there are; or, where more is
                to be said, `ottla.NewPartitions`.
            validate_only: check alone.
        """
        wanted = (
            [NewPartitions(name, count) for name, count in topics.items()]
            if isinstance(topics, Mapping)
            else topics
        )
        request = admin_pb2.CreatePartitionsRequest(
            topics=[each.message() for each in wanted], validate_only=validate_only
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
        """Give up what lies below an offset in each partition, at most 1,000 of them.

        A result comes once the new beginning is durable; what is below it already changes nothing.

        Example:
            async with ottla.Admin("127.0.0.1:9092") as admin:
                await admin.create_topic("gates", partition_count=1)
                (result,) = await admin.delete_records({("gates", 0): -1})
                print(result.log_start_offset)

        Args:
            before_offsets: the first offset to keep by partition; -1: give up all that is
                committed.
        """
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
