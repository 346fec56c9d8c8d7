"""The protos keep their style and break nobody; planted breaks of both kinds are found."""

from __future__ import annotations

import shutil
from pathlib import Path

import check_protos
import pytest

from unit.repository.source_tree import ROOT

HEAD = 'syntax = "proto3";\npackage {package};\n'
SPOKEN_PROTO = "proto/ottla/api/planted/v1/planted.proto"
STORED_PROTO = "proto/ottla/storage/planted/v1/planted_record.proto"
BEFORE = "// A thing.\nmessage Thing {\n  // Its name.\n  string name = 1;\n}\n"

pytestmark = pytest.mark.slow


def write(root: Path, name: str, *, body: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    package = ".".join(Path(name).parts[1:-1])
    path.write_text(HEAD.format(package=package) + body, encoding="utf-8")


@pytest.fixture
def released(tmp_path: Path) -> Path:
    """A tree whose planted protos are part of the last release."""
    shutil.copytree(ROOT / "proto", tmp_path / "proto")
    shutil.copy(ROOT / "buf.yaml", tmp_path)
    write(tmp_path, SPOKEN_PROTO, body=BEFORE)
    write(tmp_path, STORED_PROTO, body=BEFORE)
    check_protos.write_baseline(tmp_path)
    assert check_protos.lint(tmp_path) == []
    assert check_protos.breaking(tmp_path) == []
    return tmp_path


def test_the_protos_follow_the_style_and_break_nobody() -> None:
    assert check_protos.lint(ROOT) == []
    assert check_protos.breaking(ROOT) == []


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("name = 1", "name = 2", 'field "1"'),
        ("string name", "uint32 name", 'changed type from "string" to "uint32"'),
        ("string name", "string title", 'changed name from "name" to "title"'),
        ("message Thing", "message Object", 'message "Thing" was deleted'),
    ],
)
def test_break_of_a_spoken_message_is_found(
    released: Path, before: str, after: str, finding: str
) -> None:
    write(released, SPOKEN_PROTO, body=BEFORE.replace(before, after))
    findings = check_protos.breaking(released)
    assert [line for line in findings if finding in line] == findings[-1:]
    assert all("planted" in line for line in findings)


def test_deleted_proto_is_found(released: Path) -> None:
    (released / SPOKEN_PROTO).unlink()
    assert ["planted.proto" in line for line in check_protos.breaking(released)] == [True]


def test_stored_record_may_change_names_but_not_its_bytes(released: Path) -> None:
    write(released, STORED_PROTO, body=BEFORE.replace("string name", "string title"))
    assert check_protos.breaking(released) == []
    write(released, STORED_PROTO, body=BEFORE.replace("string name", "uint32 name"))
    assert ['"string" to "uint32"' in line for line in check_protos.breaking(released)] == [True]


@pytest.mark.parametrize(
    ("before", "after", "finding"),
    [
        ("  // Its name.\n", "", "comment"),
        ("string name", "string someName", "lower_snake_case"),
    ],
)
def test_break_of_the_style_is_found(released: Path, before: str, after: str, finding: str) -> None:
    write(released, SPOKEN_PROTO, body=BEFORE.replace(before, after))
    findings = check_protos.lint(released)
    assert len(findings) == 1
    assert finding in findings[0]


def test_proto_that_does_not_compile_is_found(released: Path) -> None:
    write(released, SPOKEN_PROTO, body="message {")
    assert any(SPOKEN_PROTO in line for line in check_protos.lint(released))


def test_baseline_that_is_missing_is_an_error(released: Path) -> None:
    (released / "proto" / "baseline.binpb").unlink()
    with pytest.raises(RuntimeError, match="buf breaking"):
        check_protos.breaking(released)
