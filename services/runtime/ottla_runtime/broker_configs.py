"""The settings of brokers that can be altered while they run: names, types, defaults, a sentence.

Owns the table that the controller checks new values against and that brokers, who act on them,
share; a test holds it and the broker's own settings together. Topics' settings are in
`topic_configs`: a broker and the cluster have those too, for topics that say nothing. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from ottla_runtime.config_definition import (
    ConfigDefinition,
    ConfigKind,
    boolean_config,
    check_configs,
    choice_config,
    integer_config,
)
from ottla_runtime.topic_configs import TOPIC_CONFIGS

ACCESS_LOG: Final = "access.log"
AUTO_CREATE_TOPICS: Final = "auto.create.topics.enable"
EVENT_LOOP_LAG_MAX_MS: Final = "event.loop.lag.max.ms"
LOG_LEVEL: Final = "log.level"

_CONFIGS: Final = (
    choice_config(
        ACCESS_LOG, ("all", "failed", "none"), "Which calls leave their line in the broker's log."
    ),
    boolean_config(
        AUTO_CREATE_TOPICS,
        False,
        "Whether publishing to an unknown topic creates it; reading never does.",
    ),
    integer_config(
        EVENT_LOOP_LAG_MAX_MS,
        1_000,
        (10, 60_000),
        "Event loop lag from which a warning is logged.",
    ),
    ConfigDefinition(
        name=LOG_LEVEL,
        kind=ConfigKind.CHOICE,
        default="info",
        choices=("debug", "info", "warning", "error"),
        doc="Least severe log lines that the broker writes.",
    ),
)

BROKER_CONFIGS: Final[Mapping[str, ConfigDefinition]] = MappingProxyType(
    {config.name: config for config in _CONFIGS}
)
"""What concerns brokers themselves, by name."""

DYNAMIC_CONFIGS: Final[Mapping[str, ConfigDefinition]] = MappingProxyType(
    dict(sorted((dict(TOPIC_CONFIGS) | dict(BROKER_CONFIGS)).items()))
)
"""Everything that a broker or the cluster can have set while it runs, in order of names."""


def check_dynamic_configs(configs: Mapping[str, str], *, owner: str) -> None:
    """Holds settings of a broker or of the cluster to the table.

    Raises:
        InvalidConfig: one is unknown (the message names the nearest) or its value does not fit.
    """
    check_configs(DYNAMIC_CONFIGS, configs, owner=owner)
