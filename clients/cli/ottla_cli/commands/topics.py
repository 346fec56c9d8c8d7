"""`ottla topics`: create, list, describe and delete."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ottla_cli.commands.groups import command_group
from ottla_cli.failures import UsageFailed
from ottla_cli.options import ConnectionFlags, connects
from ottla_cli.running import run, run_plain
from ottla_cli.topic_names import check_topic_names

app = command_group(help="Create, list, describe and delete topics.")

Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="Names of topics.")]


@app.command()
@connects
def create(
    names: Names,
    *,
    partitions: Annotated[
        int, typer.Option(min=0, max=10_000, help="Partitions of each; 0: as the cluster has it.")
    ] = 0,
    replication_factor: Annotated[
        int, typer.Option(min=0, max=32_767, help="Replicas of each; 0: as the cluster has it.")
    ] = 0,
    config: Annotated[
        list[str] | None,
        typer.Option("--config", "-c", metavar="NAME=VALUE", help="A setting; repeatable."),
    ] = None,
    if_not_exists: Annotated[
        bool, typer.Option("--if-not-exists", help="Succeed if a topic of that name exists.")
    ] = False,
    validate_only: Annotated[
        bool, typer.Option("--validate-only", help="Check only; create nothing.")
    ] = False,
    flags: ConnectionFlags,
) -> None:
    """Create topics.

    Repeating a create that succeeded succeeds, if the topic is as asked for.
    """

    async def work() -> int:
        from ottla_cli import topics  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import connected  # noqa: PLC0415 - as above

        check_topic_names(names)
        wanted = topics.new_topics(
            names,
            partition_count=partitions,
            replication_factor=replication_factor,
            configs=topics.parse_configs(config or []),
        )
        connection = flags.connection()
        async with connected(connection) as caller:
            return await topics.create(
                caller,
                wanted,
                if_not_exists=if_not_exists,
                validate_only=validate_only,
                output=connection.output,
            )

    run(work)


@app.command("list")
@connects
def list_(
    *,
    prefix: Annotated[str, typer.Option(help="Only names that begin so.")] = "",
    internal: Annotated[
        bool, typer.Option("--internal", help="Also the cluster's own topics.")
    ] = False,
    flags: ConnectionFlags,
) -> None:
    """List topics by name."""

    async def work() -> None:
        from ottla_cli import topics  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import connected  # noqa: PLC0415 - as above

        connection = flags.connection()
        async with connected(connection) as caller:
            await topics.list_all(
                caller, prefix=prefix, internal=internal, output=connection.output
            )

    run(work)


@app.command()
@connects
def describe(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME…]", help="Topics; none: all of them.")
    ] = None,
    *,
    flags: ConnectionFlags,
) -> None:
    """Show partitions, leaders, replicas and settings of topics.

    With --output json, one topic is an object and several, or all, are a list.
    """

    async def work() -> int:
        from ottla_cli import topics  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import connected  # noqa: PLC0415 - as above

        check_topic_names(names or [])
        connection = flags.connection()
        async with connected(connection) as caller:
            return await topics.describe(caller, names or [], output=connection.output)

    run(work)


@app.command()
@connects
def delete(
    names: Names,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    flags: ConnectionFlags,
) -> None:
    """Delete topics with all their records. Asks before it does, unless --yes."""
    run_plain(lambda: check_topic_names(names))
    if not yes:
        run_plain(lambda: _confirm(names))

    async def work() -> int:
        from ottla_cli import topics  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import connected  # noqa: PLC0415 - as above

        connection = flags.connection()
        async with connected(connection) as caller:
            return await topics.delete(caller, names, output=connection.output)

    run(work)


def _confirm(names: list[str]) -> None:
    if not sys.stdin.isatty():
        raise UsageFailed("deleting asks first, and nobody is at a terminal; give --yes")
    typer.confirm(f"Delete {', '.join(names)} with all records?", abort=True, err=True)
