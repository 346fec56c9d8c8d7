"""Settings are altered: what a resource has afterwards, all of a resource's changes or none.

Owns `alter_configs`: the four operations, their checks, and versions. What follows for partitions
is `config_effects`'. Repeating what is already so changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from ottla.api.admin.v1.admin_pb2 import (
    CONFIG_OPERATION_APPEND,
    CONFIG_OPERATION_SET,
    CONFIG_OPERATION_SUBTRACT,
    CONFIG_OPERATION_UNSET,
    AlterConfigsResult,
    ConfigAlteration,
    ConfigAlterations,
    ConfigOperation,
)
from ottla.protocol.error_details import to_proto
from ottla.protocol.errors import InvalidConfig, OttlaError, UnsupportedVersion, VersionConflict
from ottla.storage.metadata.v1.metadata_record_pb2 import ConfigRecord, TopicRecord
from ottla_controller.core import limits
from ottla_controller.core.config_effects import AlteredSettings, steps_for
from ottla_controller.core.config_resources import ConfigOwner, find_owner, refused, shown
from ottla_controller.core.effective_settings import EffectiveSettings
from ottla_controller.core.result import Result
from ottla_controller.core.state import ClusterState
from ottla_runtime.config_definition import (
    ConfigDefinition,
    ConfigKind,
    definition_of,
    list_items,
)

_OPERATIONS = (
    CONFIG_OPERATION_SET,
    CONFIG_OPERATION_UNSET,
    CONFIG_OPERATION_APPEND,
    CONFIG_OPERATION_SUBTRACT,
)


@dataclass(slots=True)
class _Accepted:
    """What the request changes so far."""

    altered: AlteredSettings = field(default_factory=AlteredSettings)
    seen: set[tuple[int, str]] = field(default_factory=set)


def alter_configs(
    state: ClusterState, resources: Sequence[ConfigAlterations], *, validate_only: bool
) -> Result[list[AlterConfigsResult]]:
    """Alters what can be altered; a result for each resource, in order."""
    accepted = _Accepted()
    results = []
    for alterations in resources:
        result = AlterConfigsResult(resource=shown(alterations.resource))
        try:
            _take(state, alterations, accepted)
        except OttlaError as error:
            result.error.CopyFrom(to_proto(error))
        results.append(result)
    return Result(results, () if validate_only else steps_for(state, accepted.altered))


def _take(state: ClusterState, alterations: ConfigAlterations, accepted: _Accepted) -> None:
    resource = alterations.resource
    owner = find_owner(state, resource)
    if (resource.kind, resource.name) in accepted.seen:
        raise refused("resource", "is named once in a request")
    accepted.seen.add((resource.kind, resource.name))
    if alterations.expected_version not in {0, owner.version}:
        raise VersionConflict(
            f"the settings are of version {owner.version}, not {alterations.expected_version}"
        )
    configs = _altered(state, owner, alterations.alterations)
    if configs == dict(owner.configs):
        return
    if sum(len(name) + len(value) for name, value in configs.items()) > (
        limits.TOPIC_CONFIGS_BYTES_MAX
    ):
        raise InvalidConfig(f"settings exceed {limits.TOPIC_CONFIGS_BYTES_MAX} characters")
    accepted.altered.take(_next_record(owner, configs))


def _altered(
    state: ClusterState, owner: ConfigOwner, alterations: Sequence[ConfigAlteration]
) -> dict[str, str]:
    """The resource's own settings afterwards; raises what is wrong with an alteration."""
    if len(alterations) > limits.ALTERATIONS_MAX:
        raise refused("alterations", f"has at most {limits.ALTERATIONS_MAX} items")
    if len({each.name for each in alterations}) < len(alterations):
        raise refused("alterations", "names each setting once")
    configs = dict(owner.configs)
    for alteration in alterations:
        operation, name = alteration.operation, alteration.name
        if operation not in _OPERATIONS:
            raise _unknown_operation(operation)
        if operation == CONFIG_OPERATION_UNSET:
            _unset(owner, alteration, configs)
            continue
        definition = definition_of(owner.definitions, name, owner=owner.plural)
        if operation == CONFIG_OPERATION_SET:
            value = alteration.value
        else:
            present = configs.get(name) or _inherited(state, owner, definition)
            value = _edited(definition, alteration, present)
        definition.check(value)
        configs[name] = value
    return configs


def _unset(owner: ConfigOwner, alteration: ConfigAlteration, configs: dict[str, str]) -> None:
    if alteration.value:
        raise InvalidConfig(f"{alteration.name[:64]}: unset takes no value")
    # What a newer release has set and this one does not know can still be taken away.
    if alteration.name not in configs:
        definition_of(owner.definitions, alteration.name, owner=owner.plural)
    configs.pop(alteration.name, None)


def _inherited(state: ClusterState, owner: ConfigOwner, definition: ConfigDefinition) -> str:
    """What a list is that the resource itself doesn't say: the cluster's, or the default."""
    of_cluster = EffectiveSettings(state).of_node(None).get(definition.name, "")
    is_said = not _is_cluster(owner) and of_cluster and definition.fits(of_cluster)
    return of_cluster if is_said else definition.default


def _is_cluster(owner: ConfigOwner) -> bool:
    return owner.topic is None and owner.node_id is None


def _edited(definition: ConfigDefinition, alteration: ConfigAlteration, present: str) -> str:
    if definition.kind is not ConfigKind.LIST:
        raise InvalidConfig(f"{definition.name} is no list that something can be added to")
    items, named = list_items(present), list_items(alteration.value)
    if not named or "" in named:
        raise InvalidConfig(f"{definition.name}: name the items, with commas between")
    if alteration.operation == CONFIG_OPERATION_APPEND:
        return ",".join(dict.fromkeys([*items, *named]))
    return ",".join(item for item in items if item not in named)


def _unknown_operation(operation: ConfigOperation.ValueType) -> OttlaError:
    if not operation:
        return refused("operation", "says what to do with the setting")
    return UnsupportedVersion(f"this release knows no operation {operation} on settings")


def _next_record(owner: ConfigOwner, configs: dict[str, str]) -> TopicRecord | ConfigRecord:
    record = type(owner.record)()
    record.CopyFrom(owner.record)  # type: ignore[arg-type]  # of the same type
    record.configs.clear()
    record.configs.update(configs)
    record.version += 1
    return record
