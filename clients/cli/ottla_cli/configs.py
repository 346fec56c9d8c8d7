"""What `ottla configs` does: settings that a cluster keeps, shown and altered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import ottla
from ottla_cli.config_changes import Changes
from ottla_cli.failures import EXIT_OK, UsageFailed
from ottla_cli.results import say_failed
from ottla_cli.terminal import Output, print_json, print_table, say

if TYPE_CHECKING:
    from ottla.client.admin_config_items import ConfigEntry, ConfigResult

_DEFAULT = "default"
_CLUSTER = "cluster"


def checked_resource(kind: str, name: str | None) -> tuple[str, str]:
    """The resource that a command names.

    Raises:
        UsageFailed: a topic or broker without its name, or a cluster with one.
    """
    if kind == _CLUSTER:
        if name:
            raise UsageFailed("the cluster is one: `cluster` takes no name")
        return kind, ""
    if not name:
        what = "node id" if kind == "broker" else "name"
        raise UsageFailed(f"which {kind}? Give its {what}")
    if kind == "broker" and not (name.isascii() and name.isdecimal()):
        raise UsageFailed(f"a broker is named by its node id, a number, not {name!r}")
    return kind, name


async def describe(
    admin: ottla.Admin,
    resource: tuple[str, str],
    *,
    names: Sequence[str],
    shows_defaults: bool,
    output: Output,
) -> int:
    """Print settings with where they come from, and return the exit code."""
    (result,) = await admin.describe_configs([ottla.ConfigResource(*resource)], names=names)
    entries = [
        each for each in result.entries if shows_defaults or names or each.source != _DEFAULT
    ]
    code = EXIT_OK
    if result.error is not None:
        code = say_failed(_shown_name(resource), result.error)
        if not entries:
            return code
    if output is Output.JSON:
        print_json(_document(result, entries))
    else:
        _print(resource, entries, hidden_count=len(result.entries) - len(entries))
    return code


async def alter(
    admin: ottla.Admin,
    resource: tuple[str, str],
    changes: Changes,
    *,
    expected_version: int,
    validate_only: bool,
    output: Output,
) -> None:
    """Alter settings, all or none. Raises OttlaError."""
    kind, name = resource
    await admin.alter_config(
        kind,
        name,
        values=changes.values,
        append=changes.append,
        subtract=changes.subtract,
        expected_version=expected_version,
        validate_only=validate_only,
    )
    if output is Output.JSON:
        print_json({"kind": kind, "name": name, **changes.document()})
        return
    verb = "Would alter" if validate_only else "Altered"
    say(f"{verb} {_shown_name(resource)}: {', '.join(changes.words())}")


def _shown_name(resource: tuple[str, str]) -> str:
    kind, name = resource
    return f"{kind} {name}" if name else f"the {kind}"


def _print(resource: tuple[str, str], entries: Sequence[ConfigEntry], *, hidden_count: int) -> None:
    rows = [
        (
            each.name,
            "<hidden>" if each.is_sensitive else each.value or "–",
            each.source,
            "yes" if each.is_dynamic else "no",
            ", ".join(f"{one.value or '–'} ({one.source})" for one in each.synonyms) or "–",
        )
        for each in entries
    ]
    print_table(["setting", "value", "source", "dynamic", "otherwise"], rows)
    if hidden_count:
        say(f"{hidden_count} more of {_shown_name(resource)} are as nobody set them: --all")


def _document(result: ConfigResult, entries: Sequence[ConfigEntry]) -> dict[str, object]:
    return {
        "kind": result.kind,
        "name": result.name,
        "version": result.version,
        "settings": [
            {
                "name": each.name,
                "value": None if each.is_sensitive else each.value,
                "source": each.source,
                "type": each.type,
                "dynamic": each.is_dynamic,
                "sensitive": each.is_sensitive,
                "synonyms": [
                    {"name": one.name, "value": one.value, "source": one.source}
                    for one in each.synonyms
                ],
                "documentation": each.documentation,
            }
            for each in entries
        ],
    }
