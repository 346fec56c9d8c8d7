"""Which value of a setting holds where: the one order of sources, for all decisions.

    topic ► broker, altered while it runs ► cluster ► broker, as it was started ► default

Owns the look-up, on the cluster as it is or as it shall be. A value that this release does not
understand, because a newer one took it, leaves the next source's. Pure; reads only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from ottla.api.admin.v1.admin_pb2 import (
    CONFIG_SOURCE_BROKER,
    CONFIG_SOURCE_CLUSTER,
    CONFIG_SOURCE_STATIC,
    CONFIG_SOURCE_TOPIC,
    ConfigSource,
)
from ottla.protocol.errors import FieldError, InvalidRequest
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ConfigRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core import limits
from ottla_controller.core.state import ClusterState
from ottla_runtime.topic_configs import MIN_INSYNC_REPLICAS, TOPIC_CONFIGS, default_of

Layer = tuple[ConfigSource.ValueType, Mapping[str, str]]
"""A source with what it says."""

_NOTHING: Final[Mapping[str, str]] = {}


class EffectiveSettings:
    """Looks settings up; what is given here beside the state stands for what is to be written."""

    def __init__(
        self,
        state: ClusterState,
        *,
        brokers: Mapping[int, BrokerRecord] | None = None,
        topics: Mapping[bytes, TopicRecord] | None = None,
        configs: Mapping[int | None, ConfigRecord] | None = None,
    ) -> None:
        self._state = state
        self._brokers = state.brokers if brokers is None else brokers
        self._topics = topics or {}
        self._configs = configs or {}

    def of_topic(self, topic_id: bytes) -> Mapping[str, str]:
        """Settings made on a topic itself."""
        topic = self._topics.get(topic_id) or self._state.topics.get(topic_id)
        return _NOTHING if topic is None else topic.configs

    def of_node(self, node_id: int | None) -> Mapping[str, str]:
        """What was altered on a broker, or for None on the cluster."""
        record = self._configs.get(node_id) or self._state.configs.get(node_id)
        return _NOTHING if record is None else record.configs

    def of_start(self, node_id: int) -> Mapping[str, str]:
        """Settings of topics that a broker was started with, where they differ from defaults."""
        broker = self._brokers.get(node_id)
        return _NOTHING if broker is None else broker.static_topic_configs

    def layers(self, topic_id: bytes, node_id: int) -> Iterator[Layer]:
        """What is said of a topic's replicas on a broker, the strongest first."""
        yield CONFIG_SOURCE_TOPIC, self.of_topic(topic_id)
        yield CONFIG_SOURCE_BROKER, self.of_node(node_id)
        yield CONFIG_SOURCE_CLUSTER, self.of_node(None)
        yield CONFIG_SOURCE_STATIC, self.of_start(node_id)

    def value(self, name: str, *, topic_id: bytes, node_id: int) -> str | None:
        """What a setting of topics is for a topic's replicas on a broker; None: nobody set it."""
        # Asked of every replica of every partition: nothing is looked up that isn't needed.
        definition = TOPIC_CONFIGS[name]
        found = self.of_topic(topic_id).get(name)
        if found is not None and definition.fits(found):
            return found
        for configs in (self.of_node(node_id), self.of_node(None), self.of_start(node_id)):
            found = configs.get(name) if configs else None
            if found is not None and definition.fits(found):
                return found
        return None

    def is_on(self, name: str, *, topic_id: bytes, node_id: int) -> bool:
        """Whether a setting that is true or false is true there."""
        found = self.value(name, topic_id=topic_id, node_id=node_id)
        return (TOPIC_CONFIGS[name].default if found is None else found) == "true"

    def minimum_in_sync(self, partition: PartitionRecord) -> int:
        """Fewest in-sync replicas that take a write: never more than there are replicas.

        Where brokers differ, the lowest: with a higher one, a replica could count as holding all
        records while its leader goes on to take writes without it.
        """
        factor = len(partition.replicas)
        usual = default_of(MIN_INSYNC_REPLICAS, replication_factor=factor)
        lowest = min(
            int(
                self.value(
                    MIN_INSYNC_REPLICAS, topic_id=partition.topic_id, node_id=replica.node_id
                )
                or usual
            )
            for replica in partition.replicas
        )
        return min(lowest, factor)


def understood(configs: Mapping[str, str]) -> dict[str, str]:
    """Of what a broker says it was started with, the settings of topics that are known and fit.

    Raises:
        InvalidRequest: it says more than all settings together could be.
    """
    size = sum(len(name) + len(value) for name, value in configs.items())
    if size > limits.TOPIC_CONFIGS_BYTES_MAX:
        rule = f"has at most {limits.TOPIC_CONFIGS_BYTES_MAX} characters"
        raise InvalidRequest(
            f"static_topic_configs {rule}", field_errors=[FieldError("static_topic_configs", rule)]
        )
    return {
        name: value
        for name, value in configs.items()
        if name in TOPIC_CONFIGS and TOPIC_CONFIGS[name].fits(value)
    }
