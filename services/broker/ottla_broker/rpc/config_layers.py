"""A broker's settings, put together: what was made while it runs over what it was started with.

    broker ─► cluster ─► static ─► default          the first that says something is the value

Owns the order and what becomes a synonym. Pure. The controller tells of settings that can be made
while brokers run, the broker itself of those it was started with.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from ottla.api.admin.v1 import admin_pb2

_STRONGEST_FIRST: Final = (
    admin_pb2.CONFIG_SOURCE_BROKER,
    admin_pb2.CONFIG_SOURCE_CLUSTER,
    admin_pb2.CONFIG_SOURCE_STATIC,
    admin_pb2.CONFIG_SOURCE_DEFAULT,
)
_WHILE_RUNNING: Final = _STRONGEST_FIRST[:2]

Entry = admin_pb2.ConfigEntry


class _Layer(NamedTuple):
    name: str
    value: str


def merged_entries(dynamic: Iterable[Entry], static: Iterable[Entry]) -> list[Entry]:
    """Every setting of a broker by name, with its value and synonyms.

    Args:
        dynamic: the controller's entries: sources BROKER, CLUSTER and DEFAULT.
        static: the broker's own: sources STATIC and DEFAULT.
    """
    by_name = {entry.name: [entry] for entry in dynamic}
    for entry in static:
        by_name.setdefault(entry.name, []).append(entry)
    return [_merged(by_name[name]) for name in sorted(by_name)]


def made_while_running(dynamic: Iterable[Entry]) -> list[Entry]:
    """What is known of a broker that doesn't tell what it was started with."""
    found = []
    for entry in dynamic:
        if entry.source in _WHILE_RUNNING:
            kept = Entry()
            kept.CopyFrom(entry)
            del kept.synonyms[:]
            kept.synonyms.extend(each for each in entry.synonyms if each.source in _WHILE_RUNNING)
            found.append(kept)
    return sorted(found, key=lambda entry: entry.name)


def _merged(told: list[Entry]) -> Entry:
    """One setting, of which the controller, the broker or both tell; the controller first."""
    merged = Entry()
    merged.CopyFrom(told[0])
    if len(told) == 1:
        return merged
    merged.sensitive = any(entry.sensitive for entry in told)
    layers: dict[int, _Layer] = {}
    for entry in told:  # of two defaults the broker's holds: it is the one that goes by it
        layers |= dict(_layers(entry))
    ordered = [(source, layers[source]) for source in _STRONGEST_FIRST if source in layers]
    (merged.source, first), *weaker = ordered
    merged.value = "" if merged.sensitive else first.value
    del merged.synonyms[:]
    for source, layer in weaker:
        value = "" if merged.sensitive else layer.value
        merged.synonyms.add(name=layer.name, value=value, source=source)
    return merged


def _layers(entry: Entry) -> Iterator[tuple[int, _Layer]]:
    yield entry.source, _Layer(entry.name, entry.value)
    for synonym in entry.synonyms:
        yield synonym.source, _Layer(synonym.name or entry.name, synonym.value)
