"""`ottla context`: profiles of how to reach clusters."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from ottla_cli.commands.groups import command_group
from ottla_cli.failures import UsageFailed
from ottla_cli.options import (
    ConnectionFlags,
    OutputForm,
    connects,
    context_names,
    describes_connection,
)
from ottla_cli.running import run_plain
from ottla_cli.terminal import Output

app = command_group(
    help="Keep profiles: which cluster to talk to, and how.",
    epilog="A flag wins over a context named by `--context`, that over the environment, that over"
    " the context in use, that over the default.",
)

Name = Annotated[str, typer.Argument(metavar="NAME", autocompletion=context_names)]


@app.command("list")
def list_(*, output: OutputForm = Output.TABLE) -> None:
    """List contexts; the one in use has a `*`."""

    def work() -> None:
        from ottla_cli.connections import changes  # noqa: PLC0415 - only these commands need it

        changes.list_all(output=output)

    run_plain(work)


@app.command()
@connects
def show(
    name: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME]",
            autocompletion=context_names,
            help="A context; without, what a command would use here and now.",
        ),
    ] = None,
    *,
    flags: ConnectionFlags,
) -> None:
    """Show each setting of the connection with its value and where it comes from."""

    def work() -> None:
        from ottla_cli.connections import changes  # noqa: PLC0415 - as above

        if name is None:
            changes.show_effective(flags.settings(), output=flags.connection().output)
        else:
            changes.show_one(name, output=flags.output or Output.TABLE)

    run_plain(work)


@app.command()
def use(name: Name) -> None:
    """Use a context from now on, wherever no other is asked for."""

    def work() -> None:
        from ottla_cli.connections import changes  # noqa: PLC0415 - as above

        changes.use(name)

    run_plain(work)


@app.command()
@describes_connection
def create(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    default_output: Annotated[
        Output | None,
        typer.Option("--default-output", help="What --output is, unless it is given."),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Even if there is one of that name.")
    ] = False,
    use_it: Annotated[bool, typer.Option("--use", help="Use it from now on.")] = False,
    flags: ConnectionFlags,
) -> None:
    """Keep how to reach a cluster under a name. Paths of files are kept absolute."""

    def work() -> None:
        from ottla_cli.connections import changes  # noqa: PLC0415 - as above

        profile = {**flags.profile(), "output": default_output and default_output.value}
        changes.create(name, profile, replaces=replace, uses=use_it)

    run_plain(work)


@app.command()
def delete(
    name: Name,
    *,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget a context. Asks before it does, unless --yes."""

    def work() -> None:
        from ottla_cli.connections import changes  # noqa: PLC0415 - as above

        if not yes:
            if not sys.stdin.isatty():
                raise UsageFailed("deleting asks first, and nobody is at a terminal; give --yes")
            typer.confirm(f"Delete context {name}?", abort=True, err=True)
        changes.delete(name)

    run_plain(work)
