"""`ottla cluster`: what the cluster consists of."""

from __future__ import annotations

from ottla_cli.commands.groups import command_group
from ottla_cli.options import ConnectionFlags, connects
from ottla_cli.running import run

app = command_group(help="Show what the cluster consists of.")


@app.callback()
def cluster() -> None:
    """Show what the cluster consists of."""


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
