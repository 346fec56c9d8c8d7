"""Where the `ottla` script begins: Ctrl-C counts from here on.

Importing what the command line is made of takes longer than many a command does; who presses Ctrl-C
meanwhile gets the exit code of any other time, and no traceback. So this module imports nothing.
"""

from __future__ import annotations


def main() -> None:
    """Entry point of the `ottla` script."""
    try:
        from ottla_cli.command_line import run_command_line  # noqa: PLC0415 - see the module
    except KeyboardInterrupt:
        raise SystemExit(130) from None
    run_command_line()
