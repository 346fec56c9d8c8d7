"""Building a program of another language: once, and again when something changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from interop import languages
from interop.languages import GO, Language
from interop.running import run_program
from interop.toolchains import MissingToolchain

pytestmark = pytest.mark.slow

SHELL = replace(
    GO,
    name="shell",
    commands=("sh",),
    missing="no shell is installed",
    sources=("build.sh", "program.sh"),
    steps=("sh build.sh",),
    run="./built",
)
BUILD = """#!/bin/sh
[ -e ../../proto/ottla/api/fetch/v1/fetch.proto ] || exit 1
echo once >>../../../builds
cp program.sh built
chmod 755 built
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Language:
    """A language whose program prints what it was given, in a checkout of its own."""
    monkeypatch.setattr(languages, "ROOT", tmp_path)
    monkeypatch.setattr(languages, "PROTOS", tmp_path / "proto")
    monkeypatch.setattr(languages, "CACHE", tmp_path / "cache")
    contract = tmp_path / "proto" / "ottla" / "api" / "fetch" / "v1" / "fetch.proto"
    contract.parent.mkdir(parents=True)
    contract.write_text("// as it was\n")
    SHELL.folder.mkdir(parents=True)
    (SHELL.folder / "build.sh").write_text(BUILD)
    (SHELL.folder / "program.sh").write_text('#!/bin/sh\necho "$@"\n')
    return SHELL


def builds(checkout: Path) -> int:
    return len((checkout / "cache" / "builds").read_text().splitlines())


def test_a_program_is_built_once_and_runs_where_it_was_built(
    shell: Language, tmp_path: Path
) -> None:
    for _ in range(2):
        client = languages.built(shell)
    assert builds(tmp_path) == 1
    assert run_program(client, "one", "two", seconds=10) == "one two\n"


@pytest.mark.parametrize(
    "changed", ["clients/shell/program.sh", "proto/ottla/api/fetch/v1/fetch.proto"]
)
def test_a_change_of_the_program_or_a_contract_builds_it_anew(
    shell: Language, tmp_path: Path, changed: str
) -> None:
    languages.built(shell)
    path = tmp_path / changed
    path.write_text(path.read_text() + "\n")
    languages.built(shell)
    assert builds(tmp_path) == 2


def test_a_build_that_was_cut_short_is_begun_afresh(shell: Language, tmp_path: Path) -> None:
    languages.built(shell)
    folder = languages.build_folder(shell)
    (folder / "complete").unlink()
    (folder / "half").touch()
    languages.built(shell)
    assert builds(tmp_path) == 2
    assert not (folder / "half").exists()


def test_a_build_that_fails_tells_why_and_is_tried_again(shell: Language, tmp_path: Path) -> None:
    script = shell.folder / "build.sh"
    script.write_text("echo 'it does not compile' >&2\nexit 1\n")
    for _ in range(2):
        with pytest.raises(RuntimeError, match="it does not compile"):
            languages.built(shell)
    script.write_text(BUILD)
    languages.built(shell)
    assert builds(tmp_path) == 1


def test_a_machine_without_the_tools_is_told_what_is_missing(shell: Language) -> None:
    lacking = replace(shell, commands=("sh", "no-such-compiler"))
    with pytest.raises(MissingToolchain, match="no shell is installed"):
        languages.built(lacking)


def test_a_program_that_fails_tells_its_complaint(shell: Language) -> None:
    (shell.folder / "program.sh").write_text("#!/bin/sh\necho 'no broker' >&2\nexit 3\n")
    with pytest.raises(RuntimeError, match="ended with 3: no broker"):
        run_program(languages.built(shell), seconds=10)
