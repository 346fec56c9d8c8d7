"""Settings with their sources, a page at a time.

Owns the answer to DescribeConfigs from the state. A topic's settings are those of the broker that
leads its first partition, or else is to lead it: where brokers differ, one has to speak. Of a
broker it says what can be altered while it runs; what a broker was started with, brokers add
themselves. Reads only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from ottla.api.admin.v1.admin_pb2 import (
    CONFIG_SOURCE_BROKER,
    CONFIG_SOURCE_CLUSTER,
    CONFIG_SOURCE_DEFAULT,
    CONFIG_TYPE_BOOLEAN,
    CONFIG_TYPE_INTEGER,
    CONFIG_TYPE_LIST,
    CONFIG_TYPE_STRING,
    ConfigEntry,
    ConfigSynonym,
    ConfigType,
    DescribeConfigsRequest,
    DescribeConfigsResponse,
    DescribeConfigsResult,
)
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import OttlaError
from ottla.storage.metadata.v1.metadata_record_pb2 import TopicRecord
from ottla_controller.core import limits
from ottla_controller.core.config_resources import ConfigOwner, find_owner, refused, shown
from ottla_controller.core.effective_settings import EffectiveSettings, Layer
from ottla_controller.core.page_token import decode_token, encode_token, page_size
from ottla_controller.core.state import ClusterState
from ottla_runtime.config_definition import ConfigDefinition, ConfigKind, definition_of
from ottla_runtime.topic_configs import TOPIC_CONFIGS, default_of

_PLACES: Final = "descriptions of settings"
_RESULT_BYTES: Final = 64
"""What a result takes beside its resource and entries, at most."""
_TYPES: Final[dict[ConfigKind, ConfigType.ValueType]] = {
    ConfigKind.BOOLEAN: CONFIG_TYPE_BOOLEAN,
    ConfigKind.INTEGER: CONFIG_TYPE_INTEGER,
    ConfigKind.CHOICE: CONFIG_TYPE_STRING,
    ConfigKind.LIST: CONFIG_TYPE_LIST,
}


def describe_configs(
    state: ClusterState, request: DescribeConfigsRequest
) -> DescribeConfigsResponse:
    """One page: the resources asked for in their order, each with its settings by name.

    Raises:
        InvalidRequest: too many resources or names, or page size or token are out of bounds.
    """
    page = _Page(page_size(request.page_size, maximum=limits.CONFIGS_PAGE_MAX))
    _check_items(request)
    first, name = 0, ""
    if request.page_token:
        name, first = decode_token(request.page_token, _PLACES)
        if first >= len(request.resources):
            raise refused("page_token", "belongs to the same resources in the same order")
    for number in range(first, len(request.resources)):
        result = _described(state, request, number, from_name=name)
        stopped_at = page.add(result)
        if stopped_at is not None:
            page.response.next_page_token = encode_token(_PLACES, stopped_at, number)
            break
        name = ""
    return page.response


def _check_items(request: DescribeConfigsRequest) -> None:
    if len(request.resources) > limits.ITEMS_MAX:
        raise refused("resources", f"has at most {limits.ITEMS_MAX} items")
    if len(request.names) > limits.ITEMS_MAX:
        raise refused("names", f"has at most {limits.ITEMS_MAX} items")


class _Page:
    """A response that grows until it is full."""

    def __init__(self, size: int) -> None:
        self.response = DescribeConfigsResponse()
        self._entries_left = size
        self._bytes_left = limits.PAGE_BYTES_MAX

    def add(self, result: DescribeConfigsResult) -> str | None:
        """Takes in a result; returns the entry that the next page begins with, if any."""
        entries = list(result.entries)
        del result.entries[:]
        size = result.ByteSize() + _RESULT_BYTES
        is_first = not self.response.results
        if not is_first and (size > self._bytes_left or self._entries_left == 0):
            return entries[0].name if entries else ""
        self._bytes_left -= size
        self.response.results.append(result)
        kept = self.response.results[-1].entries
        for entry in entries:
            size = entry.ByteSize() + 4
            fits = size <= self._bytes_left or (is_first and not kept)
            if self._entries_left == 0 or not fits:
                return entry.name
            self._entries_left -= 1
            self._bytes_left -= size
            kept.append(entry)
        return None


def _described(
    state: ClusterState, request: DescribeConfigsRequest, number: int, *, from_name: str
) -> DescribeConfigsResult:
    resource = request.resources[number]
    result = DescribeConfigsResult(resource=shown(resource))
    try:
        owner = find_owner(state, resource)
        names = _names(owner, request.names)
    except OttlaError as error:
        result.error.CopyFrom(to_proto(error))
        return result
    result.version = owner.version
    layers = list(_layers(EffectiveSettings(state), state, owner))
    result.entries.extend(
        _entry(owner, owner.definitions[name], layers) for name in names if name >= from_name
    )
    return result


def _names(owner: ConfigOwner, asked: Iterable[str]) -> list[str]:
    wanted = sorted(set(asked))
    if owner.node_id is not None:
        # A broker has others too, from its start: whoever passed the call on knows them.
        wanted = [name for name in wanted if name in owner.definitions]
        return wanted if asked else sorted(owner.definitions)
    for name in wanted:
        definition_of(owner.definitions, name, owner=owner.plural)
    return wanted or sorted(owner.definitions)


def _layers(
    settings: EffectiveSettings, state: ClusterState, owner: ConfigOwner
) -> Iterator[Layer]:
    """Who says something of the resource's settings, the strongest first."""
    if owner.topic is not None:
        yield from settings.layers(owner.topic.topic_id, _speaker(state, owner.topic))
        return
    if owner.node_id is not None:
        yield CONFIG_SOURCE_BROKER, owner.configs
    yield CONFIG_SOURCE_CLUSTER, settings.of_node(None)


def _speaker(state: ClusterState, topic: TopicRecord) -> int:
    partition = state.partitions_of(topic.topic_id)[0]
    if partition.HasField("leader_id"):
        return partition.leader_id
    return partition.replicas[0].node_id


def _entry(owner: ConfigOwner, definition: ConfigDefinition, layers: list[Layer]) -> ConfigEntry:
    name = definition.name
    said = [
        (source, configs[name])
        for source, configs in layers
        if name in configs and definition.fits(configs[name])
    ]
    (source, value), *weaker = [*said, (CONFIG_SOURCE_DEFAULT, _default(owner, definition))]
    return ConfigEntry(
        name=name,
        value=value,
        source=source,
        synonyms=[ConfigSynonym(name=name, value=text, source=origin) for origin, text in weaker],
        type=_TYPES[definition.kind],
        documentation=definition.doc,
        dynamic=True,
    )


def _default(owner: ConfigOwner, definition: ConfigDefinition) -> str:
    if owner.topic is None or definition.name not in TOPIC_CONFIGS:
        return definition.default
    return default_of(definition.name, replication_factor=owner.topic.replication_factor)
