"""Which records `topics delete-records` means."""

from __future__ import annotations

import pytest

from ottla_cli.failures import UsageFailed
from ottla_cli.record_targets import Target, parse_before, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [("flights", Target("flights", None)), ("flights:0", Target("flights", 0))],
)
def test_a_target_is_a_topic_or_a_partition_of_it(text: str, target: Target) -> None:
    assert parse_target(text) == target
    assert str(target) == text


@pytest.mark.parametrize("text", ["a:", "a:x", "a:-1", "a:1:2", "a:1234567890", "a:²"])
def test_what_is_no_target_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageFailed):
        parse_target(text)


@pytest.mark.parametrize(("text", "offset"), [("0", 0), ("end", -1), (str(2**63 - 1), 2**63 - 1)])
def test_before_is_an_offset_or_the_end(text: str, offset: int) -> None:
    assert parse_before(text) == offset


@pytest.mark.parametrize("text", ["", "-1", "END", "1.5", str(2**63), "9" * 30, "²"])
def test_what_is_no_offset_is_wrong_usage(text: str) -> None:
    with pytest.raises(UsageFailed):
        parse_before(text)
