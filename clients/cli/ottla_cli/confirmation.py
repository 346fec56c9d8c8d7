"""Asking before something is deleted, at a terminal; elsewhere only --yes will do."""

from __future__ import annotations

import sys

import typer

from ottla_cli.failures import UsageFailed


def confirm(question: str) -> None:
    """Returns if a person says yes.

    Raises:
        UsageFailed: nobody is there to be asked.
        Abort: they said no.
    """
    if not sys.stdin.isatty():
        raise UsageFailed("deleting asks first, and nobody is at a terminal; give --yes")
    typer.confirm(question, abort=True, err=True)
