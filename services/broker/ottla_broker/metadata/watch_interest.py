"""Which topics one watcher follows.

Owns the names and prefixes of a WatchMetadata request and their bounds. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ottla.api.metadata.v1 import metadata_pb2
from ottla.protocol.errors import InvalidRequest
from ottla.protocol.ids import TOPIC_NAME_CHARS_MAX
from ottla_broker.metadata.client_view import check_asked
from ottla_broker.metadata.cluster_table import ClusterTable

PREFIXES_MAX = 100


@dataclass(frozen=True, slots=True)
class WatchInterest:
    """Names that are followed also while there is no such topic, and prefixes of names."""

    names: frozenset[str]
    prefixes: tuple[str, ...]

    @classmethod
    def of(cls, request: metadata_pb2.WatchMetadataRequest) -> WatchInterest:
        """What a request asks to follow.

        Raises:
            InvalidRequest, InvalidTopic: too many or too long names or prefixes.
        """
        check_asked(request.topics)
        if len(request.topic_prefixes) > PREFIXES_MAX:
            raise InvalidRequest(f"at most {PREFIXES_MAX} prefixes may be followed")
        if any(len(prefix) > TOPIC_NAME_CHARS_MAX for prefix in request.topic_prefixes):
            raise InvalidRequest("a prefix is longer than any topic's name")
        return cls(frozenset(request.topics), tuple(request.topic_prefixes))

    def matches(self, name: str) -> bool:
        """Whether the topic of this name is followed."""
        return name in self.names or name.startswith(self.prefixes)

    def names_in(self, table: ClusterTable) -> Iterator[str]:
        """Names followed: those given, and those of topics that begin as followed."""
        matching = set(self.names)
        for prefix in self.prefixes:
            for name in table.names_from(prefix):
                if not name.startswith(prefix):
                    break
                matching.add(name)
        return iter(sorted(matching))
