"""Which source a topic's setting comes from."""

from __future__ import annotations

from collections.abc import Mapping

from ottla.protocol.ids import NodeId
from ottla_broker.core.log_config import LogConfig
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.topic_settings import TopicSettings

from .cluster_messages import settings, topic

SETTING = "retention.ms"


def retention_ms(
    *,
    static: Mapping[str, str] | None = None,
    cluster: str = "",
    broker: str = "",
    own: str = "",
) -> int:
    table = ClusterTable()
    changes = [topic(1, "a", configs={SETTING: own} if own else {})]
    if cluster:
        changes.append(settings({SETTING: cluster}))
    if broker:
        changes.append(settings({SETTING: broker}, node_id=1))
        changes.append(settings({SETTING: "666"}, node_id=2))
    table.apply(changes)
    worked_out = TopicSettings(table, node_id=NodeId(1), static=static or {})
    entry = table.topic("a")
    assert entry is not None
    return worked_out.log_config(entry.topic).retention_ms


def test_the_nearest_source_wins() -> None:
    static = {SETTING: "1"}
    assert retention_ms() == LogConfig().retention_ms
    assert retention_ms(static=static) == 1
    assert retention_ms(static=static, cluster="2") == 2
    assert retention_ms(static=static, cluster="2", broker="3") == 3
    assert retention_ms(static=static, cluster="2", broker="3", own="4") == 4


def test_a_value_this_version_refuses_leaves_the_next_source() -> None:
    assert retention_ms(cluster="2", own="a fortnight") == 2
