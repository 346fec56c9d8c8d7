"""The broker's own settings as they are altered while it runs.

    broker, altered while it runs ► cluster ► as it was started, or by default

Owns which value holds, and telling those who act on one when it becomes another. Topics' settings
are `topic_settings`'. Used on the loop's thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import structlog

from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_table import ClusterTable, TableChanges
from ottla_runtime.broker_configs import BROKER_CONFIGS

Apply = Callable[[str], None]

_logger = structlog.get_logger(__name__)


class DynamicSettings:
    """Follows the settings of the broker and the cluster in the metadata."""

    def __init__(
        self,
        table: ClusterTable,
        *,
        node_id: NodeId,
        static: Mapping[str, str],
        apply: Mapping[str, Apply],
    ) -> None:
        """Begins with what the broker was started with, which holds already.

        Args:
            table: the metadata.
            node_id: this broker.
            static: every setting that can be altered, as it was when the broker started.
            apply: what to do when a setting becomes another, by its name.
        """
        self._table = table
        self._node_id = node_id
        self._static = static
        self._apply = apply
        self._applied = dict(static)

    def value(self, name: str) -> str:
        """What holds now.

        A value that this version refuses (a newer controller took it) leaves the next source's.
        """
        for source in (self._table.settings(self._node_id), self._table.settings(None)):
            found = source.get(name)
            if found is not None and BROKER_CONFIGS[name].fits(found):
                return found
        return self._static[name]

    def is_on(self, name: str) -> bool:
        """Whether a setting that is true or false is true."""
        return self.value(name) == "true"

    def changed(self, changes: TableChanges) -> None:
        """The table has changed: applies what holds now, where that is another value."""
        if not (changes.settings or changes.everything):
            return
        for name, before in self._applied.items():
            value = self.value(name)
            if value == before:
                continue
            self._applied[name] = value
            if name in self._apply:
                self._apply[name](value)
            _logger.info("setting.altered", setting=name, value=value, before=before)
