"""What an admin client is given and gives back about settings.

Owns the shape of resources, entries and changes, and their reading and writing. A setting has a
value from the strongest source that says one, and synonyms from those behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from ottla.api.admin.v1 import admin_pb2
from ottla.client.admin_items import item_error, word
from ottla.protocol.errors import InvalidConfig, OttlaError


@dataclass(frozen=True, slots=True)
class ConfigResource:
    """Something that has settings."""

    kind: str
    """ "topic", "broker" or "cluster"."""
    name: str = ""
    """A topic's name, a broker's node id; the cluster has none."""

    def message(self) -> admin_pb2.ConfigResource:
        """As it travels. Raises InvalidConfig: there is no such kind."""
        numbers = dict(admin_pb2.ConfigResourceKind.items())
        number = numbers.get(f"CONFIG_RESOURCE_KIND_{self.kind.upper()}")
        if not number:
            raise InvalidConfig(
                f"settings belong to a topic, broker or cluster, not to {self.kind!r}"
            )
        return admin_pb2.ConfigResource(
            kind=admin_pb2.ConfigResourceKind.ValueType(number), name=self.name
        )


@dataclass(frozen=True, slots=True)
class ConfigSynonym:
    """What a setting would be without the stronger sources before this one."""

    name: str
    value: str
    source: str


@dataclass(frozen=True, slots=True)
class ConfigEntry:
    """A setting; `value` is empty if it is sensitive."""

    name: str
    value: str
    source: str
    """ "topic", "broker", "cluster", "static" or "default"."""
    is_dynamic: bool
    """Whether it can be altered without a restart."""
    is_sensitive: bool
    documentation: str
    type: str
    """ "boolean", "integer", "number", "string" or "list"."""
    synonyms: tuple[ConfigSynonym, ...]


@dataclass(slots=True)
class ConfigResult:
    """The settings of one resource.

    Of a broker that doesn't answer there are both: its `error`, and the entries that were made on
    it or on the cluster while brokers ran.
    """

    kind: str
    name: str
    entries: tuple[ConfigEntry, ...]
    version: int
    """For `expected_version`."""
    error: OttlaError | None

    def __getitem__(self, name: str) -> str:
        """The value of a setting. Raises KeyError."""
        for entry in self.entries:
            if entry.name == name:
                return entry.value
        raise KeyError(name)


@dataclass(frozen=True, slots=True)
class ConfigChange:
    """Changes of one resource's settings, all or none."""

    resource: ConfigResource
    values: Mapping[str, str | None] = field(default_factory=dict)
    """Set; None unsets, so that the next source's value holds."""
    append: Mapping[str, str] = field(default_factory=dict)
    """Added to settings that are lists, with commas between."""
    subtract: Mapping[str, str] = field(default_factory=dict)
    """Taken out of settings that are lists."""
    expected_version: int = 0
    """Only if the settings are of this version; 0: any."""

    def message(self) -> admin_pb2.ConfigAlterations:
        """As it travels. Raises InvalidConfig."""
        return admin_pb2.ConfigAlterations(
            resource=self.resource.message(),
            alterations=self._alterations(),
            expected_version=self.expected_version,
        )

    def _alterations(self) -> Iterator[admin_pb2.ConfigAlteration]:
        for name, value in self.values.items():
            operation = (
                admin_pb2.CONFIG_OPERATION_UNSET
                if value is None
                else admin_pb2.CONFIG_OPERATION_SET
            )
            yield admin_pb2.ConfigAlteration(name=name, operation=operation, value=value or "")
        for values, operation in (
            (self.append, admin_pb2.CONFIG_OPERATION_APPEND),
            (self.subtract, admin_pb2.CONFIG_OPERATION_SUBTRACT),
        ):
            for name, text in values.items():
                yield admin_pb2.ConfigAlteration(name=name, operation=operation, value=text)


@dataclass(frozen=True, slots=True)
class AlteredConfigs:
    """What became of one resource's changes."""

    kind: str
    name: str
    error: OttlaError | None


def altered_configs(item: admin_pb2.AlterConfigsResult) -> AlteredConfigs:
    """What became of one resource's changes, as it came."""
    return AlteredConfigs(_kind(item.resource), item.resource.name, item_error(item))


def configs_together(items: Iterable[admin_pb2.DescribeConfigsResult]) -> list[ConfigResult]:
    """Results of all pages, in their order; one that went on on another page is one."""
    found: list[ConfigResult] = []
    for item in items:
        kind, name = _kind(item.resource), item.resource.name
        entries = tuple(map(_entry, item.entries))
        if found and (found[-1].kind, found[-1].name) == (kind, name) and _goes_on(found, entries):
            found[-1].entries += entries
            found[-1].error = found[-1].error or item_error(item)
        else:
            found.append(ConfigResult(kind, name, entries, item.version, item_error(item)))
    return found


def _goes_on(found: list[ConfigResult], entries: tuple[ConfigEntry, ...]) -> bool:
    """Whether these come behind the last; a resource that was asked for twice begins anew."""
    last = found[-1].entries
    return bool(entries) and (not last or last[-1].name < entries[0].name)


def _kind(resource: admin_pb2.ConfigResource) -> str:
    return word(admin_pb2.ConfigResourceKind, resource.kind, "CONFIG_RESOURCE_KIND_")


def _entry(item: admin_pb2.ConfigEntry) -> ConfigEntry:
    return ConfigEntry(
        name=item.name,
        value=item.value,
        source=_source(item.source),
        is_dynamic=item.dynamic,
        is_sensitive=item.sensitive,
        documentation=item.documentation,
        type=word(admin_pb2.ConfigType, item.type, "CONFIG_TYPE_"),
        synonyms=tuple(
            ConfigSynonym(each.name, each.value, _source(each.source)) for each in item.synonyms
        ),
    )


def _source(source: admin_pb2.ConfigSource.ValueType) -> str:
    return word(admin_pb2.ConfigSource, source, "CONFIG_SOURCE_")
