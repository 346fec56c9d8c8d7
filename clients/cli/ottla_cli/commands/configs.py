"""`ottla configs`: settings that the cluster keeps for topics, brokers and itself."""

from __future__ import annotations

import enum
from typing import Annotated

import typer

from ottla_cli.commands.groups import command_group
from ottla_cli.config_changes import parse_changes
from ottla_cli.failures import UsageFailed
from ottla_cli.names_completion import resource_names, setting_names, settings_to_set
from ottla_cli.options import ConnectionFlags, connects
from ottla_cli.running import run
from ottla_cli.topic_names import check_topic_names

_HELP = """Show and alter settings of topics, brokers and the cluster while they run.

A topic's own wins over a broker's, that over the cluster's, that over what a broker was started
with (`ottla config show`), that over the default."""

app = command_group(help=_HELP)


class Kind(enum.StrEnum):
    """What settings belong to."""

    TOPIC = "topic"
    BROKER = "broker"
    CLUSTER = "cluster"


Resource = Annotated[Kind, typer.Argument(metavar="KIND", help="topic, broker or cluster.")]
Name = Annotated[
    str | None,
    typer.Argument(
        metavar="[NAME]",
        help="A topic's name or a broker's node id; the cluster has none.",
        autocompletion=resource_names,
    ),
]
Set = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=VALUE",
        help="Give a setting a value; repeatable.",
        autocompletion=settings_to_set,
    ),
]
Unset = Annotated[
    list[str] | None,
    typer.Option(
        "--unset",
        metavar="NAME",
        help="Let the next source decide; repeatable.",
        autocompletion=setting_names,
    ),
]
Append = Annotated[
    list[str] | None,
    typer.Option(
        "--append",
        metavar="NAME=VALUE",
        help="Add to a setting that is a list; repeatable.",
        autocompletion=settings_to_set,
    ),
]
Subtract = Annotated[
    list[str] | None,
    typer.Option(
        "--subtract",
        metavar="NAME=VALUE",
        help="Take out of a setting that is a list; repeatable.",
        autocompletion=settings_to_set,
    ),
]
ValidateOnly = Annotated[bool, typer.Option("--validate-only", help="Check only; alter nothing.")]


@app.command()
@connects
def describe(
    kind: Resource,
    name: Name = None,
    *,
    setting: Annotated[
        list[str] | None,
        typer.Option(
            "--setting",
            "-s",
            metavar="NAME",
            help="Only this one; repeatable.",
            autocompletion=setting_names,
        ),
    ] = None,
    all_: Annotated[bool, typer.Option("--all", "-a", help="Also those that nobody set.")] = False,
    flags: ConnectionFlags,
) -> None:
    """Show settings with where each value comes from, and what it would be without.

    Of a broker also what it was started with. One that does not answer shows what the cluster
    keeps for it, and exits with 4.
    """

    async def work() -> int:
        from ottla_cli import configs  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import admin_of  # noqa: PLC0415 - as above

        resource = _checked(kind, name)
        connection = flags.connection()
        async with admin_of(connection) as admin:
            return await configs.describe(
                admin,
                resource,
                names=setting or [],
                shows_defaults=all_,
                output=connection.output,
            )

    run(work)


@app.command()
@connects
def alter(
    kind: Resource,
    name: Name = None,
    *,
    set_: Set = None,
    unset: Unset = None,
    append: Append = None,
    subtract: Subtract = None,
    expected_version: Annotated[
        int,
        typer.Option(
            min=0, max=2**64 - 1, help="Only if the settings are of this version; 0: any."
        ),
    ] = 0,
    validate_only: ValidateOnly = False,
    flags: ConnectionFlags,
) -> None:
    """Alter settings, all or none, while everything runs.

    Done when they hold at the broker that was asked.
    """

    async def work() -> None:
        from ottla_cli import configs  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import admin_of  # noqa: PLC0415 - as above

        resource = _checked(kind, name)
        changes = parse_changes(
            sets=set_ or [], unsets=unset or [], appends=append or [], subtracts=subtract or []
        )
        if not changes:
            raise UsageFailed("nothing to alter: give --set, --unset, --append or --subtract")
        connection = flags.connection()
        async with admin_of(connection) as admin:
            await configs.alter(
                admin,
                resource,
                changes,
                expected_version=expected_version,
                validate_only=validate_only,
                output=connection.output,
            )

    run(work)


def _checked(kind: Kind, name: str | None) -> tuple[str, str]:
    from ottla_cli import configs  # noqa: PLC0415 - `--help` imports no gRPC

    if kind is Kind.TOPIC and name:
        check_topic_names([name])
    return configs.checked_resource(kind.value, name)
