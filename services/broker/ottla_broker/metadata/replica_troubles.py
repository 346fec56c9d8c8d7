"""What goes wrong with replicas, told once for as long as it stays the same.

Owns which troubles were told. What failed is tried again every few seconds, for every replica
there is; a log that says so each time buries everything else, and fills the disk. Remembers at
most one reason for each event of a replica, until that goes well or the topic is no more.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import structlog

from ottla.protocol.errors import OttlaError
from ottla.protocol.ids import Partition, TopicId
from ottla_broker.metadata.replica_plan import ReplicaKey
from ottla_runtime import fields

_logger = structlog.get_logger(__name__)


class ReplicaTroubles:
    """Belongs to one `ReplicaSync`."""

    def __init__(self) -> None:
        self._told: defaultdict[TopicId, dict[tuple[Partition, str], str]] = defaultdict(dict)

    def failed(self, event: str, key: ReplicaKey, error: OttlaError) -> None:
        """Somebody must look; said again once the reason is another."""
        if self._is_news(event, key, error.reason):
            _logger.error(
                event, **_which(key), **{fields.REASON: error.reason, fields.ERROR: error.message}
            )

    def kept_unknown(self, key: ReplicaKey) -> None:
        """The metadata does not know a replica, whose files are kept."""
        if self._is_news("replica.kept_unknown", key, ""):
            _logger.warning("replica.kept_unknown", **_which(key))

    def over(self, event: str, key: ReplicaKey) -> None:
        """That went well; the next failure is news again."""
        topic_id, partition = key
        told = self._told.get(topic_id)
        if told is not None and told.pop((partition, event), None) is not None and not told:
            del self._told[topic_id]

    def keep_only(self, exists: Callable[[TopicId], bool]) -> None:
        """Forget what was told of topics that are no more."""
        for topic_id in [each for each in self._told if not exists(each)]:
            del self._told[topic_id]

    def _is_news(self, event: str, key: ReplicaKey, reason: str) -> bool:
        topic_id, partition = key
        told = self._told[topic_id]
        if told.get((partition, event)) == reason:
            return False
        told[partition, event] = reason
        return True


def _which(key: ReplicaKey) -> dict[str, object]:
    topic_id, partition = key
    return {fields.TOPIC_ID: topic_id, fields.PARTITION: partition}
