"""`ottla completion`: what makes a shell complete this command."""

from __future__ import annotations

import enum
import sys
from typing import Annotated

import typer

from ottla_cli.terminal import say


class Shell(enum.StrEnum):
    """A shell that can be told how to complete."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh or fish.")],
    *,
    install: Annotated[
        bool, typer.Option("--install", help="Set it up for future shells, instead of printing.")
    ] = False,
) -> None:
    """Print the completion script of a shell, or install it.

    For the shell at hand: `source <(ottla completion bash)`.
    """
    from typer import _completion_shared as scripts  # noqa: PLC0415 - nowhere else

    if install:
        _, path = scripts.install(shell.value, "ottla", "_OTTLA_COMPLETE")
        say(f"Installed in {path}; new shells complete `ottla`")
        return
    script = scripts.get_completion_script(
        prog_name="ottla", complete_var="_OTTLA_COMPLETE", shell=shell.value
    )
    sys.stdout.write(script + "\n")
