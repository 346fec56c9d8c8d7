"""Programs that use a client as an application would: a process each, judged by what it prints."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from textwrap import dedent
from typing import Final

SECONDS_MAX: Final = 40

PREAMBLE: Final = """
import asyncio, os, signal, sys, threading
import ottla
from ottla.protocol.errors import OttlaError

bootstrap = sys.argv[1]

def said(use):
    try:
        use()
    except OttlaError as error:
        return error.message
    return "nothing"

"""


@dataclass(frozen=True)
class Ended:
    """What a program left behind."""

    code: int
    lines: list[str]
    errors: str


def run(program: str, *arguments: str, meanwhile: Callable[[int], object] | None = None) -> Ended:
    """Run a program to its end.

    Args:
        program: its text, behind the preamble.
        arguments: the first is where the cluster answers.
        meanwhile: called with its process id once it has printed a line; then it is sent one.
    """
    environ = {key: each for key, each in os.environ.items() if not key.startswith("OTTLA_")}
    # Later releases of Python warn of forks in any process with threads, which these have.
    environ |= {"PYTHONWARNINGS": "ignore:This process:DeprecationWarning"}
    with subprocess.Popen(
        [sys.executable, "-c", PREAMBLE + dedent(program), *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environ,
    ) as process:
        first = ""
        try:
            if meanwhile is not None:
                assert process.stdout is not None
                first = process.stdout.readline()
                meanwhile(process.pid)
            output, errors = process.communicate("\n", timeout=SECONDS_MAX)
        finally:
            process.kill()
    return Ended(process.returncode, (first + output).splitlines(), errors)
