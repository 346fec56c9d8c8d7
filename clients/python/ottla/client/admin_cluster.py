"""The admin client's part about the cluster itself: services, disks, metadata as a whole."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing

from ottla.api.admin.v1 import admin_pb2
from ottla.client.admin_connection import AdminConnection
from ottla.client.admin_items import ClusterDescription, cluster_description
from ottla.client.admin_log_items import (
    ImportedMetadata,
    LogDirectoryDescription,
    directories_together,
)
from ottla.client.metadata_transfer import MetadataImport, exported


class ClusterAdmin(AdminConnection):
    """Calls about the cluster."""

    async def describe_cluster(self) -> ClusterDescription:
        """Brokers, controllers and counts."""
        request = admin_pb2.DescribeClusterRequest()
        return cluster_description(
            await self._ask(lambda stub, left: stub.DescribeCluster(request, timeout=left))
        )

    async def describe_log_directories(
        self, node_ids: Iterable[int] = ()
    ) -> list[LogDirectoryDescription]:
        """Log directories of brokers with their replicas, by node id and path.

        A broker that doesn't answer has an entry whose `error` says so.

        Example:
            async with ottla.Admin("127.0.0.1:9092") as admin:
                for directory in await admin.describe_log_directories():
                    print(directory.node_id, directory.is_online, len(directory.replicas))

        Args:
            node_ids: brokers to ask, at most 1,000; none: all.
        """
        request = admin_pb2.DescribeLogDirectoriesRequest(node_ids=node_ids)
        found: list[admin_pb2.LogDirectoryDescription] = []
        while True:
            answer = await self._ask(
                lambda stub, left: stub.DescribeLogDirectories(request, timeout=left)
            )
            found += answer.directories
            if not answer.next_page_token:
                return directories_together(found)
            request.page_token = answer.next_page_token

    async def export_metadata(self) -> AsyncGenerator[bytes, None]:
        """All metadata of the cluster as of one moment, piece by piece; records are not in it.

        Example:
            async with ottla.Admin("127.0.0.1:9092") as admin:
                export = b"".join([chunk async for chunk in admin.export_metadata()])
        """
        async with aclosing(exported(self._caller())) as chunks:
            async for chunk in chunks:
                yield chunk

    async def import_metadata(
        self, chunks: Iterable[bytes] | AsyncIterable[bytes]
    ) -> ImportedMetadata:
        """Bring metadata that was exported into a cluster that is empty.

        Nothing is imported unless all of it is. It is tried once.

        Args:
            chunks: the bytes of an export in their order, cut however it suits.

        Raises:
            InvalidRequest: the cluster isn't empty, or these are no whole export.
            OutcomeUnknown: the answer was lost.
        """
        running = await self._begin_import()
        try:
            if isinstance(chunks, AsyncIterable):
                async for chunk in chunks:
                    await running.write(chunk)
            else:
                for chunk in chunks:
                    await running.write(chunk)
            return await running.finish()
        finally:
            running.cancel()

    async def _begin_import(self) -> MetadataImport:
        timeout_seconds = self._timeout_ms / 1_000
        return await MetadataImport.begin(self._caller(), timeout_seconds=timeout_seconds)
