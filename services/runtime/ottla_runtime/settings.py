"""How a setting is declared, named and shown; the vocabulary of `config`.

Owns `setting`, the one rule of names (`retention.ms` is the field `retention_ms`, the variable
`OTTLA_BROKER__RETENTION_MS` and the flag `--retention-ms`), and where a value came from. Does not
read any source: `config` does.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Any, Final

from pydantic import Field

_FIELD: Final = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")
_DYNAMIC: Final = "dynamic"
_SECRET: Final = "secret"  # noqa: S105 - the name of a property, no password
_REQUIRED: Final = ...


def setting(
    default: Any = _REQUIRED,
    *,
    description: str,
    ge: float | None = None,
    le: float | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    pattern: str | None = None,
    dynamic: bool = False,
    secret: bool = False,
) -> Any:
    """Declare a setting of a service: a field of a `ServiceConfig`.

    Args:
        default: its value when nobody sets it; left out, somebody has to.
        description: one sentence for people; the reference page and `--help` print it.
        ge: smallest value allowed. Every number has both bounds.
        le: largest value allowed.
        min_length: fewest characters or items.
        max_length: most characters or items.
        pattern: regular expression that a text has to match.
        dynamic: whether it can be altered while the service runs.
        secret: never shown; also taken from the file that its name with `_FILE` behind it names.
    """
    return Field(
        default,
        description=description,
        ge=ge,
        le=le,
        min_length=min_length,
        max_length=max_length,
        pattern=pattern,
        repr=not secret,
        json_schema_extra={_DYNAMIC: dynamic, _SECRET: secret},
    )


def is_setting_field(name: str) -> bool:
    """Whether `name` can be a field: the rule of names is reversible for such names only."""
    return _FIELD.fullmatch(name) is not None


def field_name(name: str) -> str:
    """The field for a name in any of its four forms, without prefix or leading dashes."""
    return name.replace(".", "_").replace("-", "_").lower()


def setting_name(field: str) -> str:
    """Kafka's form: `retention.ms`."""
    return field.replace("_", ".")


def flag_name(field: str) -> str:
    """The form on the command line: `--retention-ms`."""
    return "--" + field.replace("_", "-")


def variable_prefix(service: str) -> str:
    """What the variables of a service begin with: `OTTLA_BROKER__`.

    Kubernetes makes `OTTLA_BROKER_PORT=tcp://…` for a service of that name, with one underscore;
    the second keeps the two apart.
    """
    return f"OTTLA_{service.upper().replace('-', '_')}__"


def variable_name(service: str, field: str) -> str:
    """The form in the environment: `OTTLA_BROKER__RETENTION_MS`."""
    return variable_prefix(service) + field.upper()


class Source(enum.StrEnum):
    """Where a value comes from, the strongest first."""

    FLAG = "flag"
    ENVIRONMENT = "environment"
    FILE = "file"
    DEFAULT = "default"


@dataclass(frozen=True, slots=True)
class Given:
    """A value somebody gave for a setting."""

    value: object
    source: Source
    place: str
    """The flag, variable or file and key, for error messages: `OTTLA_BROKER__PORT`."""


@dataclass(frozen=True, slots=True)
class ShownSetting:
    """A setting as `config show` prints it."""

    name: str
    value: str
    source: Source
    place: str
    dynamic: bool
    description: str


def is_secret(extra: object) -> bool:
    """Whether a field's `json_schema_extra` marks a secret."""
    return isinstance(extra, dict) and extra.get(_SECRET) is True


def is_dynamic(extra: object) -> bool:
    """Whether a field's `json_schema_extra` marks a dynamic setting."""
    return isinstance(extra, dict) and extra.get(_DYNAMIC) is True
