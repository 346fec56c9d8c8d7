"""What was given for the settings of a service: flags, environment variables and a TOML file.

Owns reading the three sources into `Given` values by field, reading secrets from files, and
refusing names that mean nothing, with the nearest that does. Types and bounds are checked by the
model itself, in `config`.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ottla_runtime.settings import (
    Given,
    Source,
    field_name,
    flag_name,
    setting_name,
    variable_name,
    variable_prefix,
)

_FILE_SUFFIX: Final = "_file"
_SECRET_BYTES_MAX: Final = 64 * 1024
_CONFIG_BYTES_MAX: Final = 1024 * 1024


class ConfigError(Exception):
    """Settings that a service cannot start with; `problems` are one sentence each."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class Names:
    """The fields of a service, as the sources need to know them."""

    service: str
    fields: Collection[str]
    booleans: Collection[str]
    lists: Collection[str]
    secrets: Collection[str]

    def target(self, field: str) -> tuple[str, bool] | None:
        """The field that a name stands for and whether it names a file with a secret."""
        if field in self.fields:
            return field, False
        base = field.removesuffix(_FILE_SUFFIX)
        return (base, True) if base != field and base in self.secrets else None


def from_flags(names: Names, arguments: Sequence[str]) -> dict[str, Given]:
    """What the command line gives: `--name value`, `--name=value`, and bare names for booleans.

    A list takes its flag repeatedly. Raises `ConfigError`.
    """
    found: dict[str, Given] = {}
    rest = list(arguments)
    while rest:
        argument = rest.pop(0)
        if not argument.startswith("--") or argument == "--":
            raise ConfigError([f"{argument!r} is not a flag; every setting is given as --name"])
        flag, equals, text = argument.partition("=")
        field, negated = _flag_field(names, flag)
        target = names.target(field)
        if target is None:
            raise ConfigError([_unknown(flag, [flag_name(known) for known in names.fields])])
        name, from_file = target
        if name in names.booleans:
            if negated and equals:
                raise ConfigError([f"{flag} takes no value"])
            text = "false" if negated else (text or "true")
        elif not equals:
            if not rest:
                raise ConfigError([f"{flag} needs a value"])
            text = rest.pop(0)
        _add_flag(found, name, _value(text, flag, from_file=from_file), names=names)
    return found


def _flag_field(names: Names, flag: str) -> tuple[str, bool]:
    field = field_name(flag.removeprefix("--"))
    positive = field.removeprefix("no_")
    if field not in names.fields and positive in names.booleans:
        return positive, True
    return field, False


def _add_flag(found: dict[str, Given], name: str, value: str, *, names: Names) -> None:
    place = flag_name(name)
    if name in names.lists:
        before = found[name].value if name in found else []
        assert isinstance(before, list), "lists are collected as lists"
        found[name] = Given([*before, value], Source.FLAG, place)
        return
    if name in found:
        raise ConfigError([f"{place} is given twice"])
    found[name] = Given(value, Source.FLAG, place)


def from_environment(names: Names, environ: Mapping[str, str]) -> dict[str, Given]:
    """What the variables under the service's prefix give; a list has commas between its items.

    Raises:
        ConfigError: a variable under the prefix means nothing, or a secret's file cannot be read.
    """
    found: dict[str, Given] = {}
    prefix = variable_prefix(names.service)
    known = [variable_name(names.service, field) for field in names.fields]
    for variable in sorted(environ):
        if not variable.startswith(prefix):
            continue
        field = variable.removeprefix(prefix)
        target = names.target(field.lower()) if field.isupper() else None
        if target is None:
            raise ConfigError([_unknown(variable, known)])
        name, from_file = target
        if name in found:
            raise ConfigError([f"{variable} and {found[name].place} give the same setting"])
        text = _value(environ[variable], variable, from_file=from_file)
        value: object = _items(text) if name in names.lists else text
        found[name] = Given(value, Source.ENVIRONMENT, variable)
    return found


def from_file(names: Names, path: Path) -> dict[str, Given]:
    """What a TOML file gives; `retention.ms`, `retention_ms` and tables are all the same to it.

    Raises:
        ConfigError: the file cannot be read, is no TOML, or has a key that means nothing.
    """
    content = _read(path, size_max=_CONFIG_BYTES_MAX, what="settings file")
    try:
        document = tomllib.loads(content)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path} is not valid TOML: {error}"]) from None
    found: dict[str, Given] = {}
    for key, value in _leaves(document, ""):
        target = names.target(field_name(key))
        place = f"{key} in {path}"
        if target is None:
            raise ConfigError([_unknown(place, [setting_name(known) for known in names.fields])])
        name, is_path = target
        if name in found:
            raise ConfigError([f"{place} and {found[name].place} give the same setting"])
        given = _value(str(value), place, from_file=True) if is_path else value
        found[name] = Given(given, Source.FILE, place)
    return found


def _leaves(table: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(",")] if text.strip() else []


def _value(text: str, place: str, *, from_file: bool) -> str:
    if not from_file:
        return text
    content = _read(Path(text), size_max=_SECRET_BYTES_MAX, what=f"secret file of {place}")
    return content.removesuffix("\n").removesuffix("\r")


def _read(path: Path, *, size_max: int, what: str) -> str:
    try:
        with path.open("rb") as file:
            content = file.read(size_max + 1)
        if len(content) > size_max:
            raise ConfigError([f"{what} {path} is larger than {size_max} bytes"])
        return content.decode()
    except OSError as error:
        raise ConfigError([f"{what} {path} cannot be read: {error.strerror}"]) from None
    except UnicodeDecodeError:
        raise ConfigError([f"{what} {path} is not UTF-8 text"]) from None


def _unknown(name: str, known: Sequence[str]) -> str:
    folded = {each.lower(): each for each in known}
    bare = name.partition(" in ")[0].lower()
    nearest = difflib.get_close_matches(bare, folded, n=1, cutoff=0)
    return f"unknown setting {name}; the nearest is {folded[nearest[0]]}"
