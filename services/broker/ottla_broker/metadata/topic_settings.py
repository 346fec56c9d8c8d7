"""The settings of a topic's logs on this broker: where each value comes from.

Owns the order: topic, then this broker's dynamic settings, then the cluster's, then what the
broker was started with, then defaults. Pure. Names and bounds are `core.log_config`'s.
"""

from __future__ import annotations

from collections.abc import Mapping

from ottla.protocol.errors import InvalidConfig
from ottla.protocol.ids import NodeId
from ottla_broker.core.log_config import LOG_SETTINGS, LogConfig
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.views import TopicView


class TopicSettings:
    """Works out the settings of a topic; keeps nothing but what the broker was started with."""

    def __init__(self, table: ClusterTable, *, node_id: NodeId, static: Mapping[str, str]) -> None:
        self._table = table
        self._node_id = node_id
        self._static = static

    def log_config(self, topic: TopicView) -> LogConfig:
        """What the topic's logs go by.

        A value that this version refuses (a newer controller took it) leaves the next source's.
        """
        sources = (
            self._static,
            self._table.settings(None),
            self._table.settings(self._node_id),
            topic.configs,
        )
        merged: dict[str, str] = {}
        for source in sources:
            merged |= {name: text for name, text in source.items() if _is_understood(name, text)}
        return LogConfig.from_settings(merged)


def _is_understood(name: str, text: str) -> bool:
    setting = LOG_SETTINGS.get(name)
    if setting is None:
        return False
    try:
        setting.parse(text)
    except InvalidConfig:
        return False
    return True
