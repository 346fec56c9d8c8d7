"""The reference of the client says what its docstrings say, about every public name."""

from __future__ import annotations

import api_sources
import pytest
import write_api_reference as reference

import ottla

REWRITE = ".venv/bin/python scripts/write_api_reference.py"


def test_the_reference_is_current_and_has_no_page_too_many() -> None:
    texts = reference.pages()
    assert sorted(path.name for path in reference.FOLDER.iterdir()) == sorted(texts)
    for name, text in texts.items():
        assert (reference.FOLDER / name).read_text(encoding="utf-8") == text, f"run {REWRITE}"


def test_a_public_name_on_no_page_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert reference.undocumented() == []
    monkeypatch.setattr(ottla, "__all__", [*ottla.__all__, "Producer2"])
    assert reference.undocumented() == ["ottla.Producer2"]


def test_a_method_of_a_base_is_the_classs_own() -> None:
    consumer = api_sources.read_class("ottla.client.consumer", "Consumer")
    names = {method.name for method in consumer.methods}
    assert {"assign", "seek", "next_batch"} <= names
    assert not any(name.startswith("_") for name in names)


def test_sections_of_a_docstring_become_lists_and_code() -> None:
    doc = """Does it.

    Example:
        do(it)

    Really.

    Args:
        it: what to do; a long
            text.

    Raises:
        OttlaError: it can't.
    """
    assert reference.prose(doc.replace("\n    ", "\n")) == (
        "Does it.\n\n```python\ndo(it)\n```\n\nReally.\n\n**Args**\n\n"
        "- `it`: what to do; a long text.\n\n**Raises**\n\n- `OttlaError`: it can't."
    )


def test_long_signatures_have_a_line_for_each_parameter() -> None:
    assert reference.signature("close(limit: int | None=None) -> None") == (
        "```python\nclose(limit: int | None = None) -> None\n```"
    )
    long = f"go(first: dict[str, int], *, second: {'x' * 90}=()) -> None"
    assert reference.signature(long).splitlines()[1:-1] == [
        "go(",
        "    first: dict[str, int],",
        "    *,",
        f"    second: {'x' * 90} = (),",
        ") -> None",
    ]
