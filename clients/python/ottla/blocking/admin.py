"""The admin client without await: each method waits for the asyncio client's of the same name."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ottla.blocking.faces import Face, waiting
from ottla.client.admin import Admin as AsyncAdmin
from ottla.client.tls import Tls


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
    describe_cluster = waiting(AsyncAdmin.describe_cluster)
    describe_configs = waiting(AsyncAdmin.describe_configs)
    alter_configs = waiting(AsyncAdmin.alter_configs)
