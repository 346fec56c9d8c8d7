"""`ottla cluster`: what the cluster consists of, where its logs lie, its metadata as a whole."""

from __future__ import annotations

from typing import Annotated

import typer

from ottla_cli.commands.groups import command_group
from ottla_cli.options import ConnectionFlags, connects
from ottla_cli.running import run

app = command_group(help="Show what the cluster consists of; move its metadata.")

_NODE_ID_MAX = 2**32 - 1
Controller = Annotated[
    str | None,
    typer.Option(
        metavar="HOST[:PORT],…",
        help="Ask the controllers themselves, port 9093 where none is given.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Say nothing.")]


@app.command()
@connects
def describe(*, flags: ConnectionFlags) -> None:
    """Show brokers and controllers, their addresses and state."""

    async def work() -> None:
        from ottla_cli import cluster as commands  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import connected  # noqa: PLC0415 - as above

        connection = flags.connection()
        async with connected(connection) as caller:
            await commands.describe(caller, output=connection.output)

    run(work)


@app.command()
@connects
def directories(
    *,
    broker: Annotated[
        list[int] | None,
        typer.Option(
            "--broker", min=1, max=_NODE_ID_MAX, metavar="ID", help="Only this one; repeatable."
        ),
    ] = None,
    replicas: Annotated[
        bool, typer.Option("--replicas", help="Also every replica, its size and offsets.")
    ] = False,
    flags: ConnectionFlags,
) -> None:
    """Show log directories of brokers: state, replicas, size, room on their disks.

    A broker that does not answer is named on standard error, and the exit code is 4.
    """

    async def work() -> int:
        from ottla_cli import directories as commands  # noqa: PLC0415 - `--help` imports no gRPC
        from ottla_cli.session import admin_of  # noqa: PLC0415 - as above

        connection = flags.connection()
        async with admin_of(connection) as admin:
            return await commands.describe(
                admin, broker or [], shows_replicas=replicas, output=connection.output
            )

    run(work)


@app.command()
@connects
def export(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="Where to; -: standard output.")
    ] = "-",
    *,
    controller: Controller = None,
    quiet: Quiet = False,
    flags: ConnectionFlags,
) -> None:
    """Write all metadata of the cluster, as of one moment, to a file: topics, settings, epochs.

    Records are not in it; they stay in the brokers' log directories. A file is there once it is
    whole.
    """

    async def work() -> None:
        from ottla_cli import metadata_files  # noqa: PLC0415 - `--help` imports no gRPC

        connection = flags.connection()
        await metadata_files.export(
            connection, file, controller=controller, is_quiet=quiet, output=connection.output
        )

    run(work)


@app.command("import")
@connects
def import_(
    file: Annotated[
        str, typer.Argument(metavar="[FILE]", help="An export; -: standard input.")
    ] = "-",
    *,
    controller: Controller = None,
    quiet: Quiet = False,
    flags: ConnectionFlags,
) -> None:
    """Bring exported metadata into an empty cluster: all of it or nothing.

    A new cluster has no broker that serves, so its controllers are asked: give --controller. Start
    the brokers afterwards, on the log directories they had.
    """

    async def work() -> None:
        from ottla_cli import metadata_files  # noqa: PLC0415 - `--help` imports no gRPC

        connection = flags.connection()
        await metadata_files.import_(
            connection, file, controller=controller, is_quiet=quiet, output=connection.output
        )

    run(work)
