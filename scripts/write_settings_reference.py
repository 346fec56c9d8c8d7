"""Writes docs/operations/settings.md from the services' own settings.

Owns the page's layout, what Kafka's defaults are, and why ours differ. What settings there are,
their defaults and sentences, is the services' business; a setting of Kafka's name whose default
differs and has no reason here ends the program. `--check` writes nothing and exits 1 if stale.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ottla.client.consumer_settings import ConsumerSettings
from ottla.client.producer_settings import ProducerSettings
from ottla_broker.config import BrokerConfig
from ottla_controller.config import ControllerConfig
from ottla_runtime.config import ServiceConfig
from ottla_runtime.config_definition import ConfigDefinition, ConfigKind
from ottla_runtime.config_output import as_reference
from ottla_runtime.settings import setting_name
from ottla_runtime.topic_configs import TOPIC_CONFIGS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "operations" / "settings.md"

# Defaults of Apache Kafka 4.1, by the name the setting has here.
KAFKA_TOPIC_DEFAULTS: Mapping[str, str] = {
    "cleanup.policy": "delete",
    "compression.type": "producer",
    "index.interval.bytes": "4096",
    "max.message.bytes": "1048588",
    "message.timestamp.after.max.ms": "3600000",
    "message.timestamp.before.max.ms": "9223372036854775807",
    "message.timestamp.type": "CreateTime",
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": "604800000",
    "segment.bytes": "1073741824",
    "segment.index.bytes": "10485760",
    "segment.ms": "604800000",
    "unclean.leader.election.enable": "false",
}
KAFKA_BROKER_DEFAULTS: Mapping[str, str] = {
    "auto.create.topics.enable": "true",
    "log.dirs": "/tmp/kafka-logs",  # noqa: S108 - Kafka's default, shown as text
    "log.retention.check.interval.ms": "300000",
    "port": "9092",
}
KAFKA_CONTROLLER_DEFAULTS: Mapping[str, str] = {
    "default.replication.factor": "1",
    "heartbeat.interval.ms": "2000",
    "num.partitions": "1",
    "port": "9093",
    "session.timeout.ms": "9000",
}
KAFKA_PRODUCER_DEFAULTS: Mapping[str, str] = {
    "acks": "all",
    "batch_bytes": "16384",
    "buffer_bytes": "33554432",
    "compression": "none",
    "delivery_timeout_ms": "120000",
    "idle_ms": "540000",
    "in_flight_max": "5",
    "linger_ms": "5",
    "max_block_ms": "60000",
    "request_timeout_ms": "30000",
}
KAFKA_CONSUMER_DEFAULTS: Mapping[str, str] = {
    "auto_offset_reset": "latest",
    "fetch_buffer_bytes": "52428800",
    "isolation": "read_uncommitted",
    "rack": "not set",
}

WHY: Mapping[str, str] = {
    "auto.create.topics.enable": (
        "A misspelt name is an error here, not a new topic. `ottla up` turns it on."
    ),
    "batch_bytes": (
        "Kafka's `batch.size`. A batch waits only while another of its partition is on its way,"
        " so a larger one costs no latency and saves requests."
    ),
    "buffer_bytes": (
        "Kafka's `buffer.memory`. Room for 64 batches of the largest size, not for 32."
    ),
    "default.replication.factor": (
        "0 is as many as this version serves, which is 1 until brokers replicate; then 3, or as "
        "many as there are brokers: a topic made without thought survives the loss of one."
    ),
    "fetch_buffer_bytes": (
        "Kafka's `fetch.max.bytes`, an answer's bound; here the broker sends ahead without being"
        " asked again, and 16 MiB a broker keep that going in bounded memory."
    ),
    "heartbeat.interval.ms": (
        "Kafka's name is `broker.heartbeat.interval.ms`. A quarter of the session."
    ),
    "idle_ms": (
        "Kafka's `connections.max.idle.ms`. Opening a connection again costs milliseconds,"
        " holding idle ones costs the broker memory."
    ),
    "in_flight_max": (
        "Kafka's `max.in.flight.requests.per.connection`, which is for a broker; this one is for a"
        " partition. Order is kept at any number, so there is nothing to hold it low for."
    ),
    "isolation": (
        "Records of transactions that were aborted are a surprise to whoever doesn't know of them."
    ),
    "log.dirs": (
        "Not set is `logs` in the data directory, which has no default: records in a "
        "directory that a reboot empties are no good beginning."
    ),
    "log.retention.check.interval.ms": (
        "A shortened retention or deleted records give their room back within a minute."
    ),
    "max.message.bytes": (
        "1 MiB exactly; Kafka's has 12 bytes more for the head of its own format. The "
        "bound of 3.5 MiB keeps every answer below the 4 MiB that stock gRPC stubs take."
    ),
    "min.insync.replicas": (
        "2 for topics of 3 or more replicas: an acknowledged record is on two machines."
    ),
    "session.timeout.ms": (
        "Kafka's name is `broker.session.timeout.ms`. Metadata travels by push, so a dead"
        " broker's partitions move in seconds; one that was only slow comes back by "
        "itself."
    ),
}

_HEAD = """# Settings

Every setting of the services and of topics, written by `scripts/write_settings_reference.py` from
the code; a test holds the page to it.

A value comes from the flag (`--retention-ms`), else the variable (`OTTLA_BROKER__RETENTION_MS`),
else the TOML file named by `--config` (`retention_ms = …`), else the default. Secrets are also
taken from the file that a variable ending in `_FILE` names. Unknown names are refused with the
nearest known one. `ottla config show broker …` prints each value with its source.
"""
_TOPICS = """
## Topics

Set when a topic is created (`ottla topics create NAME --config retention.ms=…`). A topic's own
value wins over a broker's dynamic one, that over the cluster's, that over the broker's static
value below ([altering](altering.md)).

| setting | value | default | bounds | meaning |
|---|---|---|---|---|
"""
_KAFKA = """
## What differs from Kafka

Names of topics' and services' settings are Kafka's where Kafka has the setting; clients take theirs
as keywords with the unit last ([producer](../reference/producer.md),
[consumer](../reference/consumer.md)). Every default that isn't Kafka's:

| setting | Kafka 4.1 | Ottla | why |
|---|---|---|---|
"""
_OWN = """
`flush.on.ack` has no counterpart: Kafka acknowledges before the flush and leaves that to the
operating system. Here an acknowledgement of `acks=all` means that a disk has the record; turn it
off for a topic that is replicated over machines which don't fail together.
"""


@dataclass(frozen=True, slots=True)
class Difference:
    """A default that isn't Kafka's."""

    name: str
    kafka: str
    ours: str


def service_table(config_class: type[ServiceConfig]) -> str:
    """The service's table; its column says "default", so its cells don't."""
    return re.sub(r"\| default (?=[^|])", "| ", as_reference(config_class))


def topic_row(config: ConfigDefinition) -> str:
    """A topic setting as a line of the table."""
    kind = {
        ConfigKind.BOOLEAN: "true or false",
        ConfigKind.INTEGER: "number",
        ConfigKind.CHOICE: ", ".join(config.choices),
        ConfigKind.LIST: "list of " + ", ".join(config.choices),
    }[config.kind]
    is_number = config.kind is ConfigKind.INTEGER
    bounds = f"≥ {config.minimum} ≤ {config.maximum}" if is_number else "–"
    cells = [f"`{config.name}`", kind, config.default or "see right", bounds, config.doc]
    return "| " + " | ".join(cells) + " |\n"


def service_defaults(config_class: type[ServiceConfig]) -> dict[str, str]:
    """Defaults as text, by the settings' names; those that have to be given are left out."""
    found = {}
    for name, field in config_class.model_fields.items():
        if not field.is_required():
            found[setting_name(name)] = _text(field.default)
    return found


def client_defaults(settings: ProducerSettings | ConsumerSettings) -> dict[str, str]:
    """Defaults of a client's keywords as text."""
    return {name: _text(value) for name, value in asdict(settings).items()}


def _text(value: object) -> str:
    if value in (None, (), ""):
        return "not set"
    return str(value).lower() if isinstance(value, bool) else str(value)


def differences(kafka: Mapping[str, str], ours: Mapping[str, str]) -> list[Difference]:
    """Settings of Kafka's whose default is another here.

    Raises:
        SystemExit: one of them isn't there, or differs and nobody said why.
    """
    if missing := kafka.keys() - ours.keys():
        raise SystemExit(f"no such settings: {', '.join(sorted(missing))}")
    found = [
        Difference(name, kafka[name], ours[name]) for name in kafka if kafka[name] != ours[name]
    ]
    if silent := sorted(each.name for each in found if each.name not in WHY):
        raise SystemExit(f"say in WHY why these differ from Kafka: {', '.join(silent)}")
    return found


def all_differences() -> list[Difference]:
    """Those of topics, services and clients, by name."""
    topics = {name: config.default or "not set" for name, config in TOPIC_CONFIGS.items()}
    found = differences(KAFKA_TOPIC_DEFAULTS, topics)
    found += differences(KAFKA_BROKER_DEFAULTS, service_defaults(BrokerConfig))
    found += differences(KAFKA_CONTROLLER_DEFAULTS, service_defaults(ControllerConfig))
    found += differences(KAFKA_PRODUCER_DEFAULTS, client_defaults(ProducerSettings()))
    found += differences(KAFKA_CONSUMER_DEFAULTS, client_defaults(ConsumerSettings()))
    if idle := WHY.keys() - {each.name for each in found}:
        raise SystemExit(f"these no longer differ from Kafka: {', '.join(sorted(idle))}")
    return sorted(found, key=lambda each: each.name)


def page() -> str:
    """The whole page."""
    parts = [_HEAD, _TOPICS, *(topic_row(TOPIC_CONFIGS[name]) for name in sorted(TOPIC_CONFIGS))]
    parts += [
        "\n## Broker\n\nSettings of topics given here are this broker's static values.\n\n",
        service_table(BrokerConfig),
        "\n## Controller\n\n",
        service_table(ControllerConfig),
        _KAFKA,
    ]
    parts += [
        f"| `{each.name}` | {each.kafka} | {each.ours} | {WHY[each.name]} |\n"
        for each in all_differences()
    ]
    return "".join([*parts, _OWN])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when the page is stale")
    text = page()
    if parser.parse_args().check:
        is_current = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print(f"{PAGE.name}: {'current' if is_current else 'stale'}")
        return 0 if is_current else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
