"""Shells complete what they are given."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from .arrangement import WAIT_SECONDS, Up, run_ottla

pytestmark = pytest.mark.slow


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    """An environment in which `ottla` is a command, for a user of their own."""
    command = tmp_path / "bin" / "ottla"
    command.parent.mkdir()
    command.write_text(
        f"#!{sys.executable}\nimport sys\nsys.path[:0] = {sys.path!r}\n"
        "from ottla_cli.main import main\nmain()\n"
    )
    command.chmod(0o755)
    return {
        "PATH": f"{command.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }


def _bash(environ: dict[str, str], *words: str, preparation: str = "") -> list[str]:
    """What bash offers for the last of the words, by the rule that the script set up."""
    listed = " ".join(f"'{word}'" for word in words)
    program = (
        f"{preparation or 'source <(ottla completion bash)'}\n"
        f"COMP_WORDS=({listed}); COMP_CWORD={len(words) - 1}\n"
        "rule=($(complete -p ottla)); function=${rule[-2]}\n"
        '"$function" ottla\n'
        'printf "%s\\n" "${COMPREPLY[@]}"\n'
    )
    done = subprocess.run(
        ["/usr/bin/env", "bash", "--norc", "--noprofile", "-c", program],
        capture_output=True,
        check=True,
        text=True,
        timeout=WAIT_SECONDS,
        env=environ,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_bash_completes_commands_options_and_choices(environ: dict[str, str]) -> None:
    assert _bash(environ, "ottla", "pro") == ["produce"]
    assert _bash(environ, "ottla", "topics", "de") == ["describe", "delete-records", "delete"]
    assert _bash(environ, "ottla", "consume", "--print-t") == ["--print-timestamp"]
    assert _bash(environ, "ottla", "topics", "list", "--output", "j") == ["json"]


def test_bash_completes_names_of_contexts(environ: dict[str, str]) -> None:
    for name in ("staging", "stable", "prod"):
        run_ottla("context", "create", name, "-b", "localhost", user=environ)
    assert _bash(environ, "ottla", "context", "use", "st") == ["stable", "staging"]
    assert _bash(environ, "ottla", "topics", "list", "--context", "p") == ["prod"]


def test_bash_completes_names_that_the_cluster_knows(
    environ: dict[str, str], platform: Up, new_topic: Callable[..., str]
) -> None:
    name = new_topic()
    where = ("--bootstrap", platform.bootstrap)
    known = {**environ, "OTTLA_BOOTSTRAP": platform.bootstrap}
    for words in (["topics", "describe"], ["consume"], ["configs", "describe", "topic"]):
        assert _bash(known, "ottla", *words, name[:-1]) == [name]
    assert _bash(known, "ottla", "configs", "describe", "broker", "") == ["1"]
    assert _bash(known, "ottla", "topics", "alter", name, "--set", "retention.m") == [
        "retention.ms="
    ]
    assert _bash(environ, "ottla", "topics", "delete", *where, name) == [name]


def test_bash_offers_nothing_and_says_nothing_where_no_broker_answers(
    environ: dict[str, str],
) -> None:
    nowhere = {**environ, "OTTLA_BOOTSTRAP": "127.0.0.1:1"}
    assert _bash(nowhere, "ottla", "topics", "describe", "a") == []


def test_installed_script_is_the_one_that_is_printed(environ: dict[str, str]) -> None:
    assert run_ottla("completion", "bash", "--install", user=environ).out == b""
    home = Path(environ["HOME"])
    assert str(home / ".bash_completions" / "ottla.sh") in (home / ".bashrc").read_text()
    words = _bash(environ, "ottla", "clu", preparation='source "$HOME/.bashrc"')
    assert words == ["cluster"]


@pytest.mark.parametrize(
    ("shell", "asked", "said"),
    [
        ("zsh", {"_TYPER_COMPLETE_ARGS": "ottla topics cr"}, '"create"'),
        (
            "fish",
            {"_TYPER_COMPLETE_ARGS": "ottla topics cr", "_TYPER_COMPLETE_FISH_ACTION": "get-args"},
            "create",
        ),
    ],
)
def test_other_shells_get_a_script_and_what_it_asks_for(
    environ: dict[str, str], shell: str, asked: dict[str, str], said: str
) -> None:
    script = run_ottla("completion", shell, user=environ).out.decode()
    assert f"_OTTLA_COMPLETE=complete_{shell}" in script
    answer = run_ottla(
        user={"_OTTLA_COMPLETE": f"complete_{shell}", **asked, **environ}
    ).out.decode()
    assert said in answer
    assert "delete" not in answer
