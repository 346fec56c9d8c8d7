"""What can be typed: groups, options of `ottla` itself, and nothing that a command does.

Imports neither gRPC nor protobuf nor pydantic, so that help and completion are quick; a test holds
that.
"""

from __future__ import annotations

import logging
import os
import sys
from importlib import metadata
from typing import Annotated

import typer

from ottla_cli.commands import (
    cluster,
    completion,
    configs,
    consume,
    context,
    local,
    perf,
    produce,
    topics,
)
from ottla_cli.commands.groups import command_group
from ottla_cli.running import guarded
from ottla_cli.terminal import complete_streams

app = command_group(
    name="ottla",
    # `ottla completion` instead: typer's own options would load pydantic for every command's help.
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 unavailable.",
)
app.command()(local.up)
app.command(context_settings=local.PASS_THROUGH)(local.broker)
app.command(context_settings=local.PASS_THROUGH)(local.controller)
app.add_typer(topics.app, name="topics")
app.add_typer(configs.app, name="configs")
app.add_typer(cluster.app, name="cluster")
app.command()(produce.produce)
app.command()(consume.consume)
app.add_typer(perf.app, name="perf")
app.add_typer(local.config, name="config")
app.add_typer(context.app, name="context")
app.command()(completion.completion)


def _print_version(asked: bool) -> None:
    if asked:
        sys.stdout.write(f"ottla {metadata.version('ottla')}\n")
        raise typer.Exit


@app.callback()
def ottla(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Ottla: a partitioned, replicated log that speaks gRPC.

    Data goes to standard output, everything else to standard error.
    """


def run_command_line() -> None:
    """Do what the process's arguments say, and leave with its exit code."""
    complete_streams()
    # What the client library warns of, as one of our own lines.
    logging.basicConfig(format="ottla: %(message)s")
    if "_OTTLA_COMPLETE" in os.environ:  # a shell asks for completions
        from typer._completion_classes import completion_init  # noqa: PLC0415 - see `app`

        completion_init()
    if os.environ.get("NO_COLOR"):
        # rich leaves bold in place, and typer gives it the whole help in bold.
        os.environ["_TYPER_FORCE_DISABLE_TERMINAL"] = "1"
    sys.exit(guarded(_run_command))


def _run_command() -> int:
    try:
        app(prog_name="ottla")
    except SystemExit as end:  # always: also typer's own help is to be written before we leave
        return end.code if isinstance(end.code, int) else 0
    return 0
