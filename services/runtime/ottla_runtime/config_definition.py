"""What a setting that can be altered while services run is: its name, type, default, bounds, words.

Owns how such values are written and held to their bounds. Values are text, as they travel and are
stored; what a cluster has of them is in `topic_configs` and `broker_configs`. Pure.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Final

from ottla.protocol.errors import FieldError, InvalidConfig

INT64_MAX: Final = 2**63 - 1
VALUE_CHARS_MAX: Final = 1_024
_SHOWN_CHARS_MAX: Final = 64


class ConfigKind(enum.Enum):
    """How a value is written."""

    BOOLEAN = "true or false"
    INTEGER = "a whole number"
    CHOICE = "one of a few words"
    LIST = "some of a few words, with commas between"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigDefinition:
    """One setting; values are text, as they travel."""

    name: str
    kind: ConfigKind
    default: str
    """Empty where it depends on the topic; `doc` says how."""
    doc: str
    minimum: int = 0
    maximum: int = INT64_MAX
    choices: tuple[str, ...] = ()

    def check(self, value: str) -> None:
        """Holds a value to the setting's type and bounds.

        Raises:
            InvalidConfig: it is of the wrong type or out of bounds; the message says what fits.
        """
        problem = self._problem(value)
        if problem:
            text = f"{self.name}={value[:_SHOWN_CHARS_MAX]!r}: {problem}"
            raise InvalidConfig(text, field_errors=[FieldError(f"configs.{self.name}", problem)])

    def fits(self, value: str) -> bool:
        """Whether a value is of the setting's type and within its bounds."""
        return not self._problem(value)

    def _problem(self, value: str) -> str:
        if len(value) > VALUE_CHARS_MAX:
            return f"has more than {VALUE_CHARS_MAX} characters"
        allowed = ", ".join(self.choices)
        match self.kind:
            case ConfigKind.BOOLEAN:
                return "" if value in {"true", "false"} else "must be true or false"
            case ConfigKind.CHOICE:
                return "" if value in self.choices else f"must be one of {allowed}"
            case ConfigKind.LIST:
                return self._list_problem(value, allowed)
            case ConfigKind.INTEGER:
                return self._integer_problem(value)

    def _list_problem(self, value: str, allowed: str) -> str:
        items = list_items(value)
        if not items or not set(items) <= set(self.choices):
            return f"must be one or more of {allowed}, with commas between"
        return "" if len(set(items)) == len(items) else "must name each item once"

    def _integer_problem(self, value: str) -> str:
        digits = value.removeprefix("-")
        # 19 digits hold every 64-bit number; int() of a million digits would take seconds.
        if not (digits.isascii() and digits.isdecimal() and len(digits) <= 19):
            return "must be a whole number"
        if not self.minimum <= int(value) <= self.maximum:
            return f"must be from {self.minimum} to {self.maximum}"
        return ""


def integer_config(name: str, default: int, bounds: tuple[int, int], doc: str) -> ConfigDefinition:
    """A whole number."""
    return ConfigDefinition(
        name=name,
        kind=ConfigKind.INTEGER,
        default=str(default),
        minimum=bounds[0],
        maximum=bounds[1],
        doc=doc,
    )


def boolean_config(name: str, default: bool, doc: str) -> ConfigDefinition:
    """True or false."""
    return ConfigDefinition(
        name=name, kind=ConfigKind.BOOLEAN, default=str(default).lower(), doc=doc
    )


def choice_config(name: str, choices: tuple[str, ...], doc: str) -> ConfigDefinition:
    """One of a few words; the first is the default."""
    return ConfigDefinition(
        name=name, kind=ConfigKind.CHOICE, default=choices[0], choices=choices, doc=doc
    )


def list_config(name: str, choices: tuple[str, ...], doc: str) -> ConfigDefinition:
    """One or more of a few words; the first alone is the default."""
    return ConfigDefinition(
        name=name, kind=ConfigKind.LIST, default=choices[0], choices=choices, doc=doc
    )


def list_items(value: str) -> list[str]:
    """The items of a list as it is written."""
    return value.split(",") if value else []


def check_configs(
    table: Mapping[str, ConfigDefinition], configs: Mapping[str, str], *, owner: str
) -> None:
    """Holds settings to a table.

    Args:
        table: the settings there are.
        configs: values by name.
        owner: who has such settings, for the message: topics.

    Raises:
        InvalidConfig: one is unknown (the message names the nearest) or its value does not fit.
    """
    for name in sorted(configs):
        definition_of(table, name, owner=owner).check(configs[name])


def definition_of(
    table: Mapping[str, ConfigDefinition], name: str, *, owner: str
) -> ConfigDefinition:
    """The setting of that name; raises `InvalidConfig` with the nearest name if there is none."""
    definition = table.get(name)
    if definition is not None:
        return definition
    shown = name[:_SHOWN_CHARS_MAX]
    nearest: Iterable[str] = get_close_matches(shown, table, n=1)
    hint = "".join(f"; did you mean {each}?" for each in nearest)
    raise InvalidConfig(
        f"{owner} have no setting {shown!r}{hint}",
        field_errors=[FieldError(f"configs.{shown}", "unknown setting")],
    )
