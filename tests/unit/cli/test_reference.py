"""The reference in docs/cli.md is what the commands say of themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from ottla_cli.reference import MARKER, refreshed

PAGE = Path(__file__).parents[3] / "docs" / "cli.md"


def test_reference_is_current() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert page == refreshed(page), "run `python -m ottla_cli.reference docs/cli.md`"


def test_page_without_a_place_for_the_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="where the reference begins"):
        refreshed("# A page\n")
    assert refreshed(f"above\n{MARKER}old").startswith(f"above\n{MARKER}\n## Options")
