"""Decision notes are numbered without gaps and listed once each, under their own titles."""

from __future__ import annotations

import re

from unit.repository.source_tree import ROOT

FOLDER = ROOT / "docs" / "decisions"
NAME = re.compile(r"(\d{4})-[a-z0-9-]+\.md")


def test_every_note_is_numbered_in_sequence() -> None:
    notes = sorted(path.name for path in FOLDER.glob("*.md") if path.name != "README.md")
    assert [name for name in notes if not NAME.fullmatch(name)] == []
    assert [int(name[:4]) for name in notes] == list(range(1, len(notes) + 1))


def test_every_note_is_listed_under_its_title() -> None:
    table = (FOLDER / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| \[(\d{4})\]\(([^)]+)\) \| (.+) \|$", table, flags=re.M)
    titles = []
    for path in sorted(FOLDER.glob("0*.md")):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        titles.append((path.name[:4], path.name, re.sub(r"^# (\d+[.:]? *)?", "", first)))
    assert listed == titles
