"""`ottla topics`: create, list, describe, alter and delete."""

from __future__ import annotations

from typing import Annotated

import typer

from ottla_cli.commands.configs import Append, Set, Subtract, Unset, ValidateOnly
from ottla_cli.commands.groups import command_group
from ottla_cli.config_changes import parse_changes
from ottla_cli.confirmation import confirm
from ottla_cli.failures import UsageFailed
from ottla_cli.names_completion import topic_names
from ottla_cli.options import ConnectionFlags, connects
from ottla_cli.record_targets import parse_before, parse_target
from ottla_cli.running import run, run_plain
from ottla_cli.topic_names import check_topic_names

app = command_group(help="Create, list, describe, alter and delete topics.")

Names = Annotated[list[str], typer.Argument(metavar="NAME…", help="Names of topics.")]
KnownNames = Annotated[
    list[str],
    typer.Argument(metavar="NAME…", help="Names of topics.", autocompletion=topic_names),
]


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
        list[str] | None,
        typer.Argument(
            metavar="[NAME…]", help="Topics; none: all of them.", autocompletion=topic_names
        ),
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
def alter(
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=topic_names)],
    *,
    partitions: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, help="How many it shall have in all; never fewer."),
    ] = None,
    set_: Set = None,
    unset: Unset = None,
    append: Append = None,
    subtract: Subtract = None,
    validate_only: ValidateOnly = False,
    flags: ConnectionFlags,
) -> None:
    """Give a topic more partitions, and alter its settings.

    With more partitions, keys may go to others than before: records of a key are in order within
    a partition only.
    """

    async def work() -> None:
        from ottla_cli import topic_changes  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import admin_of  # noqa: PLC0415 - as above

        check_topic_names([name])
        changes = parse_changes(
            sets=set_ or [], unsets=unset or [], appends=append or [], subtracts=subtract or []
        )
        if partitions is None and not changes:
            raise UsageFailed("nothing to alter: give --partitions, --set, --unset or another")
        connection = flags.connection()
        async with admin_of(connection) as admin:
            await topic_changes.alter(
                admin,
                name,
                partition_count=partitions,
                changes=changes,
                validate_only=validate_only,
                output=connection.output,
            )

    run(work)


@app.command("delete-records")
@connects
def delete_records(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="NAME[:PARTITION]…",
            help="Topics, or partitions of them.",
            autocompletion=topic_names,
        ),
    ],
    *,
    before: Annotated[
        str,
        typer.Option(
            metavar="OFFSET|end", help="The first offset to keep; end: keep what is yet to come."
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    flags: ConnectionFlags,
) -> None:
    """Delete the oldest records of partitions. Asks before it does, unless --yes.

    Done when each partition durably begins where it says. Disks get their room back with the next
    look at retention, a whole segment at a time.
    """
    run_plain(lambda: _check_targets(targets, before))
    if not yes:
        everything = "all records" if before == "end" else f"the records below offset {before}"
        run_plain(lambda: confirm(f"Delete {everything} of {', '.join(targets)}?"))

    async def work() -> int:
        from ottla_cli import topic_changes  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import admin_of  # noqa: PLC0415 - as above

        connection = flags.connection()
        async with admin_of(connection) as admin:
            return await topic_changes.delete_records(
                admin,
                [parse_target(each) for each in targets],
                before_offset=parse_before(before),
                output=connection.output,
            )

    run(work)


def _check_targets(targets: list[str], before: str) -> None:
    parse_before(before)
    check_topic_names(parse_target(each).topic for each in targets)


@app.command()
@connects
def delete(
    names: KnownNames,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    flags: ConnectionFlags,
) -> None:
    """Delete topics with all their records. Asks before it does, unless --yes."""
    run_plain(lambda: check_topic_names(names))
    if not yes:
        run_plain(lambda: confirm(f"Delete {', '.join(names)} with all records?"))

    async def work() -> int:
        from ottla_cli import topics  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import connected  # noqa: PLC0415 - as above

        connection = flags.connection()
        async with connected(connection) as caller:
            return await topics.delete(caller, names, output=connection.output)

    run(work)
