"""`ottla context`, and what commands make of contexts."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable
from pathlib import Path

import pytest

from .arrangement import WAIT_SECONDS, Done, Up, run_ottla, start_ottla

pytestmark = pytest.mark.slow

Ottla = Callable[..., Done]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return tmp_path / "config"


@pytest.fixture
def ottla(config: Path) -> Ottla:
    def run(*arguments: str, code: int = 0, **environ: str) -> Done:
        user = {"XDG_CONFIG_HOME": str(config), **environ}
        return run_ottla(*arguments, code=code, user=user)

    return run


def test_context_leads_commands_to_its_cluster(platform: Up, ottla: Ottla) -> None:
    ottla("context", "create", "here", "-b", platform.bootstrap, "--default-output", "json")
    ottla("context", "create", "nowhere", "-b", "127.0.0.1:1", "--use")
    assert "127.0.0.1:1" in ottla("cluster", "describe", code=4).err
    by_flag = ottla("cluster", "describe", "--context", "here").document
    by_variable = ottla("cluster", "describe", OTTLA_CONTEXT="here").document
    ottla("context", "use", "here")
    in_use = ottla("cluster", "describe").document
    assert by_flag == by_variable == in_use
    assert ottla("cluster", "describe", "--output", "table").lines[0].startswith("Cluster ")
    assert ottla("topics", "list", "-b", "127.0.0.1:1", code=4).out == b""


def test_contexts_are_listed_shown_and_deleted(ottla: Ottla, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    ottla("context", "create", "b", "-b", "b:1", "--tls-ca", str(tmp_path / "ca.pem"))
    ottla("context", "create", "a", "-b", "a:1,a:2", "--use")
    assert ottla("context", "list", "-o", "json").document == [
        {"name": "a", "in_use": True, "bootstrap": "a:1,a:2"},
        {"name": "b", "in_use": False, "bootstrap": "b:1", "tls_ca": str(tmp_path / "ca.pem")},
    ]
    rows = [line.split() for line in ottla("context", "list").lines[2:]]
    assert rows == [["*", "a", "a:1,a:2", "plain", "–"], ["b", "b:1", "tls", "–"]]
    shown = ottla("context", "show", "b", "-o", "json").document
    assert shown == {"name": "b", "bootstrap": "b:1", "tls_ca": str(tmp_path / "ca.pem")}
    ottla("context", "delete", "a", "--yes")
    assert [each["in_use"] for each in ottla("context", "list", "-o", "json").document] == [False]
    assert ottla("context", "show", "a", code=3).out == b""


def test_effective_settings_are_shown_with_where_they_come_from(ottla: Ottla) -> None:
    ottla("context", "create", "a", "-b", "a:1", "--default-output", "json", "--use")
    shown = ottla("context", "show", "--tls", OTTLA_TLS_SERVER_NAME="broker").document
    assert shown["bootstrap"] == {"value": "a:1", "source": "context a"}
    assert shown["tls"] == {"value": True, "source": "flag"}
    assert shown["tls_server_name"] == {"value": "broker", "source": "OTTLA_TLS_SERVER_NAME"}
    assert shown["tls_ca"] == {"value": None, "source": "default"}
    line = next(each for each in ottla("context", "show", "-o", "table").lines if "bootst" in each)
    assert line.split() == ["bootstrap", "a:1", "context", "a"]


def test_context_of_a_name_that_is_taken_needs_replace(ottla: Ottla) -> None:
    ottla("context", "create", "a", "-b", "a:1")
    again = ottla("context", "create", "a", "-b", "b:1", code=1)
    assert "there is a context 'a' already" in again.err
    ottla("context", "create", "a", "-b", "b:1", "--replace")
    assert ottla("context", "show", "a", "-o", "json").document["bootstrap"] == "b:1"


@pytest.mark.parametrize("command", [["use", "x"], ["delete", "x", "--yes"], ["show", "x"]])
def test_context_that_is_not_there_exits_with_3(ottla: Ottla, command: list[str]) -> None:
    done = ottla("context", *command, code=3)
    assert "there is no context 'x'" in done.err
    assert "`ottla context list`" in done.err


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
def test_delete_asks_at_a_terminal(
    ottla: Ottla, config: Path, answer: bytes, code: int, left: int
) -> None:
    ottla("context", "create", "a", "-b", "a:1")
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    with start_ottla(
        "context", "delete", "a", stdin=theirs, XDG_CONFIG_HOME=str(config)
    ) as process:
        _, err = process.communicate(timeout=WAIT_SECONDS)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert "Delete context a?" in err.decode()
    assert len(ottla("context", "list", "-o", "json").document) == left


def test_file_that_is_broken_is_named_by_every_command(ottla: Ottla, config: Path) -> None:
    (config / "ottla").mkdir(parents=True)
    (config / "ottla" / "contexts.toml").write_text("[contexts.a]\nbootstrap = 5\n")
    for command in (["topics", "list"], ["context", "list"], ["context", "use", "a"]):
        done = ottla(*command, code=1)
        assert "contexts.toml cannot be used: context a: bootstrap is text" in done.err
    assert (config / "ottla" / "contexts.toml").read_text().endswith("= 5\n")


def test_many_at_once_lose_no_context(ottla: Ottla, config: Path) -> None:
    names = [f"c{number}" for number in range(4)]
    running = [
        start_ottla("context", "create", name, "-b", "a:1", XDG_CONFIG_HOME=str(config))
        for name in names
    ]
    for process in running:
        with process:
            assert process.wait(WAIT_SECONDS) == 0
    assert [each["name"] for each in ottla("context", "list", "-o", "json").document] == names
