"""The pages about other languages show the programs, and build and run them as tests do."""

from __future__ import annotations

import json
import re
from itertools import takewhile
from pathlib import Path

import pytest
from interop.languages import LANGUAGES, Language
from interop.round_trips import objections

from unit.repository.source_tree import ROOT

FOLDER = ROOT / "docs" / "languages"
FENCES = {"go": "go", "node": "typescript", "java": "java", "rust": "rust", "cpp": "cpp"}
LINK = re.compile(r"\]\((?!https?:)([^)#]+)")


@pytest.fixture(params=list(LANGUAGES))
def language(request: pytest.FixtureRequest) -> Language:
    return LANGUAGES[request.param]


def page_of(language: Language) -> str:
    return (FOLDER / f"{language.name}.md").read_text(encoding="utf-8")


def blocks(text: str, fence: str) -> list[str]:
    return re.findall(rf"^```{fence}\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def written(text: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip()]


def test_the_code_of_a_page_is_the_program(language: Language) -> None:
    shown = "".join(blocks(page_of(language), FENCES[language.name]))
    assert written(shown) == written(language.program.read_text(encoding="utf-8"))


def test_a_page_and_a_readme_build_and_run_the_program_as_tests_do(language: Language) -> None:
    readme = (language.folder / "README.md").read_text(encoding="utf-8")
    commands = [*language.steps, f"{language.run} 127.0.0.1:9092"]
    (shown,) = (block for block in blocks(readme, "sh") if language.steps[0] in block)
    lines = [line.partition("  ")[0] for line in shown.splitlines()]
    assert lines[: len(commands)] == commands
    first, *rest = blocks(page_of(language), "sh")[0].splitlines()
    assert (first, rest) == (f"cd clients/{language.name}", commands)


def test_a_page_shows_what_the_program_prints(language: Language) -> None:
    (printed,) = blocks(page_of(language), "text")
    assert objections(json.loads(printed), language=language.name, count=100_000) == []


def test_every_language_is_on_the_index_and_every_page_is_a_languages() -> None:
    index = (FOLDER / "README.md").read_text(encoding="utf-8")
    pages = sorted(path.stem for path in FOLDER.glob("*.md") if path.name != "README.md")
    assert pages == sorted(LANGUAGES)
    rows = [line for line in index.splitlines() if line.startswith("| ")]
    for name in LANGUAGES:
        assert any(f"({name}.md)" in row and f"clients/{name}/" in row for row in rows)


@pytest.mark.parametrize(
    "path",
    [*FOLDER.glob("*.md"), *(each.folder / "README.md" for each in LANGUAGES.values())],
    ids=lambda path: path.relative_to(ROOT).as_posix(),
)
def test_links_lead_somewhere(path: Path) -> None:
    prose = re.sub(r"^```.*?^```$", "", path.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    links = LINK.findall(prose)
    assert links
    assert [link for link in links if not (path.parent / link).exists()] == []


def test_what_a_program_is_made_of_is_what_its_folder_has(language: Language) -> None:
    """A file that no build takes along would be missing where the program is built."""
    ignored = takewhile(bool, (language.folder / ".gitignore").read_text().splitlines())
    made = {name.strip("/") for name in ignored} | {".gitignore", "README.md", "rustfmt.toml"}
    found = {
        path.relative_to(language.folder).as_posix()
        for path in language.folder.rglob("*")
        if path.is_file() and path.relative_to(language.folder).parts[0] not in made
    }
    assert found == set(language.sources)
