"""A release needs its changes written down under its own title."""

from __future__ import annotations

import pytest
from release import changes_of

CHANGELOG = """# Changelog

## Unreleased

- New things.

## 0.1.0 - 2030-01-31

- First things.

## 0.0.1 - 2029-01-31
"""


@pytest.mark.parametrize(
    ("version", "changes"),
    [("0.2.0.dev0", "- New things."), ("0.1.0", "- First things.")],
)
def test_changes_stand_under_the_title_of_the_version(version: str, changes: str) -> None:
    assert changes_of(version, changelog=CHANGELOG) == changes


@pytest.mark.parametrize("version", ["0.0.1", "0.2.0", "0.1.0.1"])
def test_version_without_changes_is_not_released(version: str) -> None:
    with pytest.raises(SystemExit, match="has no entries below"):
        changes_of(version, changelog=CHANGELOG)
