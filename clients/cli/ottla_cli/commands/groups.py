"""Groups of commands, made so that help is quick.

Owns one workaround: where `--help` of a group is not given, typer has pydantic find out what kind
of value "nothing" is, on the way to every command's help. A default leaves nothing to find out.
"""

from __future__ import annotations

from typing import Any

import typer
from typer.core import TyperGroup


class QuickGroup(TyperGroup):
    """A group whose own `--help` has a default."""

    def get_help_option(self, ctx: Any) -> Any:
        option = super().get_help_option(ctx)
        if option is not None:
            option.default = False
        return option


def command_group(**options: Any) -> typer.Typer:
    """A `typer.Typer` of this kind, which shows its help when called without a command."""
    return typer.Typer(cls=QuickGroup, no_args_is_help=True, **options)
