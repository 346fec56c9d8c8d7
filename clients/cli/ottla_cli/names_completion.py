"""Names that only the cluster knows, for a shell that completes: topics, brokers, settings.

Owns asking quickly and in silence: a shell that waits or prints in the middle of a line is worse
than one that offers nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import typer

from ottla_cli.options import ConnectionFlags

if TYPE_CHECKING:
    import ottla

_SECONDS_MAX: Final = 1.5


def topic_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of topics that begin so."""

    async def names(admin: ottla.Admin) -> list[str]:
        return [each.name for each in await admin.list_topics(prefix=incomplete)]

    return _asked(context, names)


def resource_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of topics, or node ids of brokers, as the command line says which."""
    kind = str(context.params.get("kind") or "").rpartition(".")[2].lower()
    if kind == "topic":
        return topic_names(context, incomplete)

    async def node_ids(admin: ottla.Admin) -> list[str]:
        cluster = await admin.describe_cluster()
        ids = (str(each.node_id) for each in cluster.brokers)
        return [each for each in ids if each.startswith(incomplete)]

    return _asked(context, node_ids) if kind == "broker" else []


def setting_names(context: typer.Context, incomplete: str) -> list[str]:
    """Names of settings that can be altered, and begin so."""

    async def names(admin: ottla.Admin) -> list[str]:
        settings = await admin.describe_config("cluster")
        return [each.name for each in settings.entries if each.name.startswith(incomplete)]

    return _asked(context, names)


def settings_to_set(context: typer.Context, incomplete: str) -> list[str]:
    """The same, ready for their value."""
    return [f"{name}=" for name in setting_names(context, incomplete)]


def _asked(
    context: typer.Context, question: Callable[[ottla.Admin], Awaitable[list[str]]]
) -> list[str]:
    """What the cluster of this command line answers; nothing where anything goes wrong."""
    logging.disable()

    async def ask() -> list[str]:
        from ottla_cli.session import admin_of  # noqa: PLC0415 - only a completion asks

        async with asyncio.timeout(_SECONDS_MAX), admin_of(_flags(context).connection()) as admin:
            return await question(admin)

    with contextlib.suppress(Exception):
        return asyncio.run(ask())
    return []


def _flags(context: typer.Context) -> ConnectionFlags:
    given: dict[str, Any] = {
        each.name: context.params.get(each.name) for each in dataclasses.fields(ConnectionFlags)
    }
    return ConnectionFlags(**{**given, "request_timeout": _SECONDS_MAX, "output": None})
