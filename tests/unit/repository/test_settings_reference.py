"""The page about settings says what the services do, and why where Kafka does otherwise."""

from __future__ import annotations

import pytest
import write_settings_reference as reference

REWRITE = ".venv/bin/python scripts/write_settings_reference.py"


def test_the_page_about_settings_is_current() -> None:
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page(), f"run {REWRITE}"


def test_the_page_names_a_setting_of_each_kind() -> None:
    page = reference.page()
    assert "| `retention.ms` | number | 604800000 | ≥ -1 ≤ 9223372036854775807 |" in page
    assert "| `auto.create.topics.enable` | true | false |" in page
    assert "| `data.dir` | path | required |" in page


def test_a_default_that_differs_from_kafkas_needs_its_reason() -> None:
    with pytest.raises(SystemExit, match=r"say in WHY .*: segment\.bytes"):
        reference.differences({"segment.bytes": "1"}, {"segment.bytes": "2"})


def test_a_setting_of_kafkas_that_is_gone_is_noticed() -> None:
    with pytest.raises(SystemExit, match=r"no such settings: segment\.bytes"):
        reference.differences({"segment.bytes": "1"}, {})
