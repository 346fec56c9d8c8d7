"""`ottla up`, `ottla broker`, `ottla controller` and `ottla config show`."""

from __future__ import annotations

import enum
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ottla_cli.commands.groups import command_group
from ottla_cli.failures import UsageFailed
from ottla_cli.options import OutputForm
from ottla_cli.running import run, run_plain
from ottla_cli.terminal import Output

_DEFAULT_PORT = 9092
_PORT_MAX = 65_535

PASS_THROUGH = {
    "allow_extra_args": True,
    "ignore_unknown_options": True,
    "help_option_names": [],
}


class Service(enum.StrEnum):
    """A kind of service."""

    BROKER = "broker"
    CONTROLLER = "controller"


def up(
    *,
    data: Annotated[
        str | None,  # a Path of nothing would be the current directory
        typer.Option(
            "--data",
            metavar="DIR",
            help="Where everything is kept; without, ~/.local/share/ottla or $XDG_DATA_HOME/ottla.",
        ),
    ] = None,
    port: Annotated[
        int,
        typer.Option(min=0, max=_PORT_MAX, help="Port of the broker; 0 takes any free one."),
    ] = _DEFAULT_PORT,
    die_with_parent: Annotated[
        bool, typer.Option("--die-with-parent", help="Stop when the process that started it ends.")
    ] = False,
    parent_process_id: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="PID",
            help="With --die-with-parent, that process: one that has ended already is noticed.",
        ),
    ] = None,
    output: OutputForm = Output.TABLE,
) -> None:
    """Run a platform on this machine: a controller and a broker, until Ctrl-C.

    Prints the line that tells other commands where it is. Data stays in its directory for the next
    start. Unknown topics are created by publishing to them.
    """

    async def work() -> int:
        from ottla_cli.local import up as command  # noqa: PLC0415 - only this command needs it
        from ottla_cli.local.data_directory import default_path  # noqa: PLC0415 - as above

        if data == "":
            raise UsageFailed("--data is empty: say which directory")
        options = command.UpOptions(
            data=default_path(os.environ) if data is None else Path(data),
            port=port,
            dies_with_parent=die_with_parent,
            parent_process_id=parent_process_id,
            output=output,
        )
        return await command.up(options)

    run(work)


def broker(context: typer.Context) -> None:
    """Run a broker in the foreground. Every flag is the broker's own; --help lists them."""
    run_plain(lambda: _become(Service.BROKER, context.args))


def controller(context: typer.Context) -> None:
    """Run a controller in the foreground. Every flag is the controller's own; --help lists them."""
    run_plain(lambda: _become(Service.CONTROLLER, context.args))


config = command_group(help="Show the settings a service would start with.")


@config.callback()
def config_group() -> None:
    """Show the settings a service would start with."""


@config.command(
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def show(
    context: typer.Context,
    service: Annotated[Service, typer.Argument(help="Whose settings.")],
    *,
    output: OutputForm = Output.TABLE,
) -> None:
    """Show each setting of a service with its value and where it comes from.

    Takes the service's own flags too, and looks at the same variables and file as the service.
    """
    arguments = [f"--show-config={output.value}", *context.args]
    run_plain(lambda: _become(service, arguments))


def _become(service: Service, arguments: list[str]) -> None:
    """Turn this process into the service, so that signals and exit codes are its own."""
    from ottla_cli.local.service_process import check_installed  # noqa: PLC0415 - as above

    check_installed()
    sys.stdout.flush()
    command = [sys.executable, "-m", f"ottla_{service.value}", *arguments]
    os.execv(sys.executable, command)  # noqa: S606 - no shell is meant
