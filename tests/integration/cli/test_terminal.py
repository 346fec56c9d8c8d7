"""What commands do at a terminal, and without one."""

from __future__ import annotations

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from .arrangement import WAIT_SECONDS, Up, start_ottla

pytestmark = pytest.mark.slow


def _at_a_terminal(platform: Up, *arguments: str, **environ: str) -> bytes:
    """What a command prints on a terminal."""
    ours, theirs = pty.openpty()
    try:
        with start_ottla(
            *arguments,
            stdin=theirs,
            stdout=theirs,
            stderr=subprocess.PIPE,
            **{"OTTLA_BOOTSTRAP": platform.bootstrap, "TERM": "xterm-256color", **environ},
        ) as process:
            _, err = process.communicate(timeout=WAIT_SECONDS)
        assert process.returncode == 0, err
        os.set_blocking(ours, False)
        return os.read(ours, 1_000_000)
    finally:
        os.close(ours)
        os.close(theirs)


def test_tables_have_colour_on_a_terminal_unless_nobody_wants_it(platform: Up) -> None:
    command = ("cluster", "describe")
    assert b"\x1b[" in _at_a_terminal(platform, *command)
    assert b"\x1b[" not in _at_a_terminal(platform, *command, NO_COLOR="1")
    assert b"\x1b[" not in platform.ottla(*command).out


def test_help_has_colour_on_a_terminal_unless_nobody_wants_it(platform: Up) -> None:
    assert b"\x1b[" in _at_a_terminal(platform, "topics", "--help")
    assert b"\x1b[" not in _at_a_terminal(platform, "topics", "--help", NO_COLOR="1")
    assert b"\x1b[" not in platform.ottla("topics", "--help").out


def test_usage_error_has_no_colour_off_a_terminal(platform: Up) -> None:
    done = platform.ottla("topics", "lists", code=2, TERM="xterm-256color")
    assert "\x1b" not in done.err
    assert "list" in done.err


def test_data_cannot_act_on_a_terminal(platform: Up, topic_name: str) -> None:
    platform.ottla("produce", topic_name, stdin=b"\x1b[31mred\x07\n")
    command = ("consume", topic_name, "--from-beginning", "-n", "1")
    assert _at_a_terminal(platform, *command) == b"\\x1b[31mred\\x07\r\n"
    assert platform.ottla(*command).out == b"\x1b[31mred\x07\n"


def test_long_produce_shows_its_progress_on_a_terminal_only(
    platform: Up, topic_name: str, tmp_path: Path
) -> None:
    file = tmp_path / "lines"
    file.write_bytes(b"line\n" * 1_000)
    ours, theirs = pty.openpty()
    with start_ottla(
        *("produce", topic_name, "--file", str(file)),
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        OTTLA_BOOTSTRAP=platform.bootstrap,
        TERM="xterm-256color",
    ) as process:
        process.communicate(timeout=WAIT_SECONDS)
    os.set_blocking(ours, False)
    shown = os.read(ours, 1_000_000)
    os.close(ours)
    os.close(theirs)
    assert b"1,000 records" in shown
    assert b"\x1b[" in shown
    again = platform.ottla("produce", topic_name, "--file", str(file))
    assert again.err.count("\n") == 1


def test_file_limit_that_is_too_low_is_said_clearly(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *("sh", "-c", 'ulimit -n 200; exec "$0" "$@"', sys.executable),
            *("-c", "from ottla_cli.main import main; main()"),
            *("up", "--port", "0", "--data", str(tmp_path)),
        ],
        capture_output=True,
        check=False,
        timeout=WAIT_SECONDS,
        text=True,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "the limit of open files is 200, and 4096 are needed" in done.stderr
