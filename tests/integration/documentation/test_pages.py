"""The examples of the pages for users run as they stand, and print what the pages say."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ottla.testing

from .run_page import ADDRESS

ROOT = Path(__file__).parents[3]
PROGRAM = Path(__file__).parent / "run_page.py"
PYTHON = re.compile(
    r"^```python\n(?P<code>.*?)^```$(?:\n\n^```text\n(?P<printed>.*?)^```$)?",
    re.MULTILINE | re.DOTALL,
)
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")
FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.slow


@pytest.fixture
def bootstrap() -> Iterator[str]:
    with ottla.testing.cluster() as cluster:
        yield cluster.bootstrap


def environment(**variables: str) -> dict[str, str]:
    own = {key: value for key, value in os.environ.items() if not key.startswith("OTTLA_")}
    return {**own, "PYTHONPATH": os.pathsep.join(sys.path), **variables}


@pytest.mark.parametrize("name", ["quickstart", "producing", "consuming", "tuning"])
def test_the_examples_of_a_page_print_what_it_says(name: str, bootstrap: str) -> None:
    page = ROOT / "docs" / f"{name}.md"
    ran = subprocess.run(
        [sys.executable, "-W", "error", str(PROGRAM), str(page), bootstrap],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")
    blocks = list(PYTHON.finditer(page.read_text(encoding="utf-8")))
    assert len(blocks) >= 3
    assert json.loads(ran.stdout) == [block["printed"] or "" for block in blocks]


def test_the_commands_of_the_quick_start_print_what_it_says(bootstrap: str, tmp_path: Path) -> None:
    ottla_command = tmp_path / "ottla"
    ottla_command.write_text(
        f"#!/bin/sh\nexec {sys.executable} -c 'from ottla_cli.main import main; main()' \"$@\"\n"
    )
    ottla_command.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    page = (ROOT / "docs" / "quickstart.md").read_text(encoding="utf-8")
    (session,) = CONSOLE.findall(page)
    assert f"OTTLA_BOOTSTRAP={ADDRESS}" in page
    for entry in re.split(r"^\$ ", session, flags=re.MULTILINE)[1:]:
        command, _, printed = entry.partition("\n")
        ran = subprocess.run(
            ["sh", "-c", command],
            env=environment(PATH=path, OTTLA_BOOTSTRAP=bootstrap, HOME=str(tmp_path)),
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
        )
        assert (ran.returncode, ran.stdout) == (0, printed), f"{command}\n{ran.stderr}"


@pytest.mark.parametrize(
    "page",
    [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), ROOT / "proto" / "README.md"],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_of_a_page_lead_somewhere(page: Path) -> None:
    prose = FENCED.sub("", page.read_text(encoding="utf-8"))  # code may look like a link
    targets = LINK.findall(prose)
    assert [each for each in targets if not (page.parent / each).exists()] == []
