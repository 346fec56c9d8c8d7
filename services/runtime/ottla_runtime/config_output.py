"""Settings as text: the table and JSON of `config show`, `--help`, and the reference page.

Owns layout alone; what there is to show comes from `config`.
"""

from __future__ import annotations

import json
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType

from pydantic.fields import FieldInfo

from ottla_runtime.config import ServiceConfig
from ottla_runtime.settings import (
    ShownSetting,
    flag_name,
    is_dynamic,
    is_secret,
    setting_name,
    variable_name,
)

_TYPE_NAMES = {int: "number", float: "number", str: "text", bool: "true or false", Path: "path"}


def as_table(shown: Sequence[ShownSetting]) -> str:
    """A line a setting: name, value, source, and the place that gave it."""
    rows = [("SETTING", "VALUE", "SOURCE", "PLACE")]
    rows += [(each.name, each.value, each.source.value, each.place) for each in shown]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    lines = (
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
    return "\n".join(lines) + "\n"


def as_json(service: str, shown: Sequence[ShownSetting]) -> str:
    """The same for programs."""
    settings = [
        {
            "name": each.name,
            "value": each.value,
            "source": each.source.value,
            "place": each.place,
            "dynamic": each.dynamic,
            "description": each.description,
        }
        for each in shown
    ]
    return json.dumps({"service": service, "settings": settings}, indent=2) + "\n"


def as_help(config_class: type[ServiceConfig], program: str) -> str:
    """What `--help` prints: every flag with what it takes, its default and its sentence."""
    lines = [
        f"usage: {program} --node-id N [--config FILE] [flags]",
        "",
        "Every setting is also taken from the environment, as"
        f" {variable_name(config_class.service, 'node_id')}, and from a TOML file.",
        "",
    ]
    for name, field in sorted(config_class.model_fields.items()):
        lines.append(f"  {flag_name(name)} ({_type_text(field)}; {_default_text(field)})")
        lines.append(f"      {field.description}")
    return "\n".join(lines) + "\n"


def as_reference(config_class: type[ServiceConfig]) -> str:
    """The Markdown table of the generated reference page."""
    lines = [
        "| setting | type | default | bounds | dynamic | meaning |",
        "|---|---|---|---|---|---|",
    ]
    for name, field in sorted(config_class.model_fields.items()):
        dynamic = "yes" if is_dynamic(field.json_schema_extra) else "no"
        cells = [
            f"`{setting_name(name)}`",
            _type_text(field).replace("|", "\\|"),
            _default_text(field),
            " ".join(_bounds(field)) or "–",
            dynamic,
            field.description or "",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if field.default in (None, (), ""):
        return "not set"
    if isinstance(field.default, bool):
        return f"default {str(field.default).lower()}"
    return f"default {field.default}"


def _type_text(field: FieldInfo) -> str:
    text = _type_name(field.annotation)
    return f"secret {text}" if is_secret(field.json_schema_extra) else text


def _type_name(annotation: object) -> str:
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Literal:
        return "|".join(map(str, arguments))
    if origin in {UnionType, typing.Union}:
        return " or ".join(_type_name(each) for each in arguments if each is not NoneType)
    if origin in {tuple, list}:
        return f"list of {_type_name(arguments[0])}"
    return _TYPE_NAMES.get(typing.cast("type", annotation), str(annotation))


def _bounds(field: FieldInfo) -> Iterator[str]:
    signs = (("ge", "≥"), ("le", "≤"), ("min_length", "length ≥"), ("max_length", "length ≤"))
    for constraint in field.metadata:
        for attribute, sign in signs:
            bound = getattr(constraint, attribute, None)
            if bound is not None:
                yield f"{sign} {bound}"
