"""The command line as a whole: help, usage, exit codes, what it imports."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from ottla.client.rpc_errors import TransportFailed, Unreachable
from ottla.protocol.errors import (
    Draining,
    InvalidTopic,
    OffsetOutOfRange,
    OttlaError,
    OutcomeUnknown,
    TopicExists,
    UnknownGroup,
    UnknownTopicOrPartition,
)
from ottla_cli.command_line import app
from ottla_cli.failures import CommandFailed, from_platform
from ottla_cli.local.data_directory import default_path
from ottla_cli.running import run_plain
from ottla_cli.topics import parse_configs

RUNNER = CliRunner()
COMMANDS = [
    [],
    ["up"],
    ["topics"],
    ["topics", "create"],
    ["topics", "list"],
    ["topics", "describe"],
    ["topics", "alter"],
    ["topics", "delete-records"],
    ["topics", "delete"],
    ["configs"],
    ["configs", "describe"],
    ["configs", "alter"],
    ["cluster"],
    ["cluster", "describe"],
    ["cluster", "directories"],
    ["cluster", "export"],
    ["cluster", "import"],
    ["produce"],
    ["consume"],
    ["perf"],
    ["perf", "produce"],
    ["perf", "consume"],
    ["perf", "latency"],
    ["config"],
    ["config", "show"],
    ["context"],
    ["context", "list"],
    ["context", "show"],
    ["context", "use"],
    ["context", "create"],
    ["context", "delete"],
    ["completion"],
]
HEAVY = {"grpc", "google", "pydantic", "pydantic_core", "structlog", "ottla.api"}


def _run_main(arguments: list[str], then: str = "", **environ: str) -> tuple[str, str]:
    """What the command prints in a process of its own, which then runs some more Python."""
    program = (
        "import sys\n"
        "from ottla_cli.main import main\n"
        f"sys.argv = ['ottla', *{arguments!r}]\n"
        "try:\n"
        "    main()\n"
        "except SystemExit as end:\n"
        "    assert end.code in (0, None), end.code\n"
        f"{then}\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=50,
        env={**os.environ, **environ},
    )
    return done.stdout, done.stderr


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_every_command_has_help(command: list[str]) -> None:
    result = RUNNER.invoke(app, [*command, "--help"])
    assert result.exit_code == 0
    assert "Usage: " in result.stdout


def test_ctrl_c_while_the_command_is_loaded_leaves_no_traceback() -> None:
    program = (
        "import signal, sys\n"
        "class Interrupting:\n"
        "    def find_spec(self, name, path, target=None):\n"
        "        if name == 'typer':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Interrupting())\n"
        "from ottla_cli.main import main\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], check=False, capture_output=True, text=True, timeout=50
    )
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["--help"], ["--version"]])
def test_help_imports_neither_grpc_nor_protobuf_nor_pydantic(arguments: list[str]) -> None:
    then = f"print(sorted({HEAVY!r} & set(sys.modules)), file=sys.stderr)"
    assert _run_main(arguments, then)[1] == "[]\n"


@pytest.mark.slow
def test_help_of_no_command_imports_grpc_or_protobuf_or_pydantic() -> None:
    # One process for all: what one of them imported would be seen after it.
    then = (
        f"for arguments in {COMMANDS!r}:\n"
        "    sys.argv = ['ottla', *arguments, '--help']\n"
        "    try:\n"
        "        main()\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0, arguments\n"
        f"    found = sorted({HEAVY!r} & set(sys.modules))\n"
        "    assert not found, (arguments, found)\n"
        "print('all were asked', file=sys.stderr)\n"
    )
    out, err = _run_main(["--help"], then)
    assert err == "all were asked\n"
    assert out.count("Usage: ") == len(COMMANDS) + 1


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["topics", "create"],
        ["topics", "create", "a", "--partitions", "-1"],
        ["topics", "create", "a", "--config", "novalue"],
        ["topics", "list", "--bootstrap", "a:b:c"],
        ["topics", "list", "--output", "yaml"],
        ["topics", "delete", "a"],
        ["produce", "a", "--key", "k", "--key-separator", ":"],
        ["produce", "a", "--header", "=x"],
        ["produce", "a", "--header", "x"],
        ["produce", "a/b"],
        ["consume", ""],
        ["topics", "create", "a", "a/b"],
        ["topics", "describe", "a b"],
        ["topics", "delete", "--yes", ".."],
        ["perf", "produce", "--topic", "a/b"],
        ["produce", "a", "--file", "/does/not/exist"],
        ["consume", "a", "--from-beginning", "--offset", "1"],
        ["consume", "a", "--offset", "x"],
        ["consume", "a", "--since", "x"],
        ["consume", "a", "--format", "xml"],
        ["consume", "a", "--timeout", "-1"],
        ["consume", "a", "--max-messages", "-1"],
        ["produce", "a", "--acks", "some"],
        ["produce", "a", "--key-separator", ""],
        ["topics", "list", "--tls-cert", "me.pem"],
        ["topics", "list", "--context"],
        ["topics", "list", "--request-timeout", "0"],
        ["perf", "produce", "--records", "0"],
        ["perf", "produce", "--throughput", "0"],
        ["perf", "produce", "--topic", "a", "--config", "retention.ms=1"],
        ["perf", "produce", "--compression", "zip"],
        ["perf", "consume", "--config", "novalue"],
        ["perf", "latency", "--size", "23"],
        ["perf", "latency", "--throughput", "20001"],
        ["context", "create", "a"],
        ["context", "create", "a b", "-b", "localhost"],
        ["context", "create", "a", "-b", "a:b:c"],
        ["context", "create", "a", "-b", "localhost", "--tls-ca", "/does/not/exist"],
        ["context", "delete", "a"],
        ["completion", "tcsh"],
        ["up", "--port", "65536"],
        ["up", "--data", ""],
        ["config", "show", "nothing"],
        ["topics", "alter", "a"],
        ["topics", "alter", "no name!", "--partitions", "2"],
        ["topics", "alter", "a", "--partitions", "0"],
        ["topics", "alter", "a", "--set", "retention.ms"],
        ["topics", "alter", "a", "--set", "a=1", "--unset", "a"],
        ["topics", "delete-records", "a", "--yes"],
        ["topics", "delete-records", "a", "--before", "x", "--yes"],
        ["topics", "delete-records", "a:x", "--before", "1", "--yes"],
        ["topics", "delete-records", "a/b:1", "--before", "1", "--yes"],
        ["topics", "delete-records", "a", "--before", "1"],
        ["configs", "describe", "topic"],
        ["configs", "describe", "topic", "no name!"],
        ["configs", "describe", "broker", "x"],
        ["configs", "describe", "cluster", "x"],
        ["configs", "describe", "planet"],
        ["configs", "alter", "cluster"],
        ["configs", "alter", "cluster", "--set", "a=1", "--expected-version", "-1"],
        ["cluster", "directories", "--broker", "0"],
        ["cluster", "export", "/tmp/none", "--controller", "a:b:c"],
        ["cluster", "import", "/dev/null", "--controller", ""],
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_2_and_prints_no_data(arguments: list[str]) -> None:
    result = RUNNER.invoke(app, arguments)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr != ""
    assert "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UnknownTopicOrPartition("no"), 3),
        (UnknownGroup("no"), 3),
        (Unreachable("no"), 4),
        (TransportFailed("no"), 4),
        (Draining("no"), 4),
        (OutcomeUnknown("no"), 4),
        (TopicExists("no"), 1),
        (InvalidTopic("no"), 2),
    ],
)
def test_error_of_the_platform_has_its_exit_code(error: OttlaError, code: int) -> None:
    assert from_platform(error).code == code


def test_error_says_what_to_do() -> None:
    outside = OffsetOutOfRange("no", metadata={"earliest_offset": 5, "latest_offset": 9})
    assert from_platform(outside).hint == "the partition holds offsets 5 up to, not including, 9"
    assert "OTTLA_BOOTSTRAP" in from_platform(Unreachable("no")).hint
    assert "topics list" in from_platform(UnknownTopicOrPartition("no")).hint


def _code_of(error: BaseException) -> int:
    def work() -> None:
        raise error

    try:
        run_plain(work)
    except typer.Exit as end:
        return end.exit_code
    return 0


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (CommandFailed("no way", hint="try this"), 1, ["ottla: no way", "try this"]),
        (UnknownTopicOrPartition("no topic x"), 3, ["ottla: no topic x"]),
        (ExceptionGroup("g", [ExceptionGroup("h", [Draining("bye")])]), 4, ["ottla: bye"]),
        (FileNotFoundError(2, "No such file", "f"), 1, ["ottla: f: No such file"]),
        (KeyboardInterrupt(), 130, []),
    ],
    ids=lambda value: type(value).__name__,
)
def test_failure_is_one_line_and_a_code(
    error: BaseException, code: int, said: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _code_of(error) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    for each in said:
        assert each in printed.err


def test_mistake_of_ours_is_not_hidden() -> None:
    with pytest.raises(ZeroDivisionError):
        _code_of(ZeroDivisionError())


def test_settings_of_topics_are_read() -> None:
    assert parse_configs(["retention.ms=5", "a==b", "c="]) == {
        "retention.ms": "5",
        "a": "=b",
        "c": "",
    }
    for bad in (["x"], ["=x"], ["a=1", "a=2"]):
        with pytest.raises(CommandFailed):
            parse_configs(bad)


def test_data_lies_under_the_users_data_directory() -> None:
    home = {"HOME": "/home/kafka"}
    assert default_path(home) == Path("/home/kafka/.local/share/ottla")
    assert default_path({**home, "XDG_DATA_HOME": "/data"}) == Path("/data/ottla")
    assert default_path({**home, "XDG_DATA_HOME": "relative"}) == default_path(home)


def test_empty_home_counts_as_none_and_the_accounts_is_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    account = list(pwd.getpwuid(os.getuid()))
    account[5] = "/var/lib/kafka"
    monkeypatch.setattr(pwd, "getpwuid", lambda _: pwd.struct_passwd(account))
    for environ in ({}, {"HOME": ""}):
        assert default_path(environ) == Path("/var/lib/kafka/.local/share/ottla")
    account[5] = ""
    with pytest.raises(CommandFailed, match="give --data DIR"):
        default_path({"HOME": ""})


def test_help_has_no_colour_off_a_terminal() -> None:
    done = subprocess.run(
        [sys.executable, "-c", "from ottla_cli.main import main; main()", "--help"],
        check=True,
        capture_output=True,
        timeout=50,
        env={**os.environ, "TERM": "xterm-256color"},
    )
    assert b"\x1b" not in done.stdout
