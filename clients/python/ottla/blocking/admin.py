"""The admin client without await: each method waits for the asyncio client's of the same name."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

from ottla.blocking.faces import Face, waiting
from ottla.client.admin import Admin as AsyncAdmin
from ottla.client.admin_log_items import ImportedMetadata
from ottla.client.metadata_transfer import MetadataImport
from ottla.client.tls import Tls
from ottla.protocol.errors import InvalidRequest


class Admin(Face[AsyncAdmin]):
    """Operates a cluster, from any thread.

    Example:
        with ottla.blocking.Admin("127.0.0.1:9092") as admin:
            admin.create_topic("flights", partition_count=3)
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
            InvalidRequest: the addresses cannot be read.
        """
        super().__init__(AsyncAdmin(bootstrap, timeout_ms=timeout_ms, tls=tls))

    def open(self) -> None:
        """Begin; `with` does it. Raises Unreachable if no address resolves."""
        self._open(self._inner.open)

    def close(self) -> None:
        """End. Again: nothing."""
        self._close(self._inner.close)

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    create_topic = waiting(AsyncAdmin.create_topic)
    create_topics = waiting(AsyncAdmin.create_topics)
    delete_topic = waiting(AsyncAdmin.delete_topic)
    delete_topics = waiting(AsyncAdmin.delete_topics)
    create_partitions = waiting(AsyncAdmin.create_partitions)
    list_topics = waiting(AsyncAdmin.list_topics)
    describe_topics = waiting(AsyncAdmin.describe_topics)
    delete_records = waiting(AsyncAdmin.delete_records)
    describe_config = waiting(AsyncAdmin.describe_config)
    describe_configs = waiting(AsyncAdmin.describe_configs)
    alter_config = waiting(AsyncAdmin.alter_config)
    alter_configs = waiting(AsyncAdmin.alter_configs)
    describe_cluster = waiting(AsyncAdmin.describe_cluster)
    describe_log_directories = waiting(AsyncAdmin.describe_log_directories)

    def export_metadata(self) -> Iterator[bytes]:
        """All metadata of the cluster as of one moment, piece by piece; records are not in it."""
        chunks = self._inner.export_metadata()
        try:
            while (chunk := self._call(functools.partial(_next, chunks))) is not None:
                yield chunk
        finally:
            with suppress(InvalidRequest):  # the client was closed before its reader was done
                self._call(chunks.aclose)

    def import_metadata(self, chunks: Iterable[bytes]) -> ImportedMetadata:
        """Bring metadata that was exported into a cluster that is empty.

        The chunks are asked for in the caller's thread. Else as the asyncio client does it.
        """
        running = self._call(self._inner._begin_import)
        try:
            for chunk in chunks:
                self._call(functools.partial(running.write, chunk))
            return self._call(running.finish)
        finally:
            self._call(functools.partial(_cancel, running))


async def _next(chunks: AsyncGenerator[bytes, None]) -> bytes | None:
    return await anext(chunks, None)


async def _cancel(running: MetadataImport) -> None:
    running.cancel()
