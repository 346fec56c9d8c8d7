"""Commands in a bare environment: no HOME, no terminal, the locale C."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .arrangement import WAIT_SECONDS, Up

pytestmark = pytest.mark.slow


def bare(*arguments: str, stdin: bytes = b"", bootstrap: str = "") -> bytes:
    """What a command that succeeds prints, with nothing in its environment but what is given."""
    ran = subprocess.run(
        [sys.executable, "-c", "from ottla_cli.main import main; main()", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
        env={"PATH": os.defpath, "LANG": "C", "LC_ALL": "C", "OTTLA_BOOTSTRAP": bootstrap},
        start_new_session=True,
    )
    assert ran.returncode == 0, ran.stderr
    assert b"\x1b" not in ran.stdout + ran.stderr
    return ran.stdout


def test_commands_need_neither_home_nor_terminal_nor_locale(platform: Up, topic_name: str) -> None:
    address = platform.bootstrap
    letters = "Grüße\nzwei\n".encode()
    bare("topics", "create", topic_name, bootstrap=address)
    assert topic_name.encode() in bare("topics", "list", bootstrap=address)
    bare("produce", topic_name, stdin=letters, bootstrap=address)
    read = bare("consume", topic_name, "--from-beginning", "--until-end", bootstrap=address)
    assert read == letters
    assert b"broker" in bare("cluster", "describe", bootstrap=address).lower()


def test_settings_and_help_need_no_home(tmp_path: Path) -> None:
    assert b"Usage: ottla" in bare("--help")
    shown = bare("config", "show", "controller", "--node-id", "1", "--data-dir", str(tmp_path))
    assert str(tmp_path).encode() in shown
