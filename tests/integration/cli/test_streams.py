"""What commands do with streams that are closed or full, and with addresses of no host."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from .arrangement import WAIT_SECONDS, Up, start_ottla

pytestmark = pytest.mark.slow


def _in_a_shell(
    platform: Up, redirection: str, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Runs a command with streams redirected as a shell does it."""
    command = [sys.executable, "-c", "from ottla_cli.main import main; main()", *arguments]
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {redirection}', *command],
        capture_output=True,
        check=False,
        text=True,
        timeout=WAIT_SECONDS,
        env={**kept, "OTTLA_BOOTSTRAP": platform.bootstrap},
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    return done


@pytest.mark.parametrize(
    ("redirection", "why"),
    [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")],
)
@pytest.mark.parametrize(
    "arguments",
    [("topics", "list"), ("topics", "list", "-o", "json"), ("--help",), ("--version",)],
    ids=" ".join,
)
def test_output_that_cannot_be_written_is_one_line_and_1(
    platform: Up, redirection: str, why: str, arguments: tuple[str, ...]
) -> None:
    done = _in_a_shell(platform, redirection, *arguments)
    assert done.returncode == 1
    assert done.stderr == f"ottla: cannot write to standard output: {why}\n"


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
def test_records_that_cannot_be_written_are_one_line_and_1(
    platform: Up, topic_name: str, redirection: str
) -> None:
    platform.ottla("produce", topic_name, stdin=b"one\n")
    command = ("consume", topic_name, "--from-beginning", "--until-end")
    done = _in_a_shell(platform, redirection, *command)
    assert done.returncode == 1
    assert done.stderr.startswith("ottla: cannot write to standard output: ")
    assert done.stderr.count("\n") == 1


def test_input_that_cannot_be_read_is_said_before_anything_is_sent(
    platform: Up, topic_name: str
) -> None:
    done = _in_a_shell(platform, "<&-", "produce", topic_name)
    assert done.returncode == 1
    assert done.stderr.startswith("ottla: cannot read standard input: Bad file descriptor\n")
    platform.ottla("topics", "describe", topic_name, code=3)


def test_what_needs_no_stream_does_its_work_without(platform: Up, topic_name: str) -> None:
    done = _in_a_shell(platform, "<&- >&- 2>&-", "topics", "create", topic_name)
    assert done.returncode == 0
    assert platform.ottla("topics", "describe", topic_name).code == 0


def test_platform_is_up_though_nobody_can_be_told(tmp_path: Path) -> None:
    with start_ottla(
        *("up", "--port", "0", "--data", str(tmp_path / "data")),
        stdin=subprocess.DEVNULL,
        stdout=os.open("/dev/full", os.O_WRONLY),
    ) as process:
        assert process.stderr is not None
        assert b"Ottla is up" in process.stderr.readline()
        process.terminate()
        _, err = process.communicate(timeout=WAIT_SECONDS)
    assert process.returncode == 0, err
    assert b"Traceback" not in err


def test_question_without_a_terminal_is_refused_with_input_closed(
    platform: Up,
) -> None:
    done = _in_a_shell(platform, "<&-", "topics", "delete", "letters")
    assert done.returncode == 2
    assert "give --yes" in done.stderr


def test_address_without_a_host_is_told_of_and_the_others_are_used(platform: Up) -> None:
    done = platform.ottla("topics", "list", OTTLA_BOOTSTRAP=f"{platform.bootstrap},junk.invalid")
    (line,) = done.err.splitlines()
    assert line.startswith("ottla: no address for broker junk.invalid:9092, going on with the")
