"""Changes of settings as they are written on a command line."""

from __future__ import annotations

import pytest

from ottla_cli.config_changes import Changes, parse_changes
from ottla_cli.configs import checked_resource
from ottla_cli.failures import UsageFailed


def parsed(
    sets: list[str] | None = None,
    unsets: list[str] | None = None,
    appends: list[str] | None = None,
    subtracts: list[str] | None = None,
) -> Changes:
    return parse_changes(
        sets=sets or [], unsets=unsets or [], appends=appends or [], subtracts=subtracts or []
    )


def test_each_option_says_its_own_change() -> None:
    changes = parsed(["a=1", "b="], ["c"], ["d=x"], ["e=y=z"])
    assert changes == Changes({"a": "1", "b": "", "c": None}, {"d": "x"}, {"e": "y=z"})
    assert [*changes.words()] == ["a=1", "b=", "c unset", "d+=x", "e-=y=z"]
    assert changes.document() == {
        "set": {"a": "1", "b": ""},
        "unset": ["c"],
        "append": {"d": "x"},
        "subtract": {"e": "y=z"},
    }


def test_no_option_is_no_change() -> None:
    assert not parsed()
    assert parsed(unsets=["a"])


@pytest.mark.parametrize(
    ("sets", "unsets", "appends"),
    [
        (["a"], [], []),
        (["=1"], [], []),
        ([], ["a=1"], []),
        ([], [""], []),
        ([], [], ["a"]),
        (["a=1", "a=2"], [], []),
        (["a=1"], ["a"], []),
        ([], ["a"], ["a=1"]),
        ([], ["a", "a"], []),
    ],
)
def test_what_is_no_change_or_two_of_one_setting_is_wrong_usage(
    sets: list[str], unsets: list[str], appends: list[str]
) -> None:
    with pytest.raises(UsageFailed):
        parsed(sets, unsets, appends)


@pytest.mark.parametrize(
    ("kind", "name", "resource"),
    [
        ("topic", "t", ("topic", "t")),
        ("broker", "7", ("broker", "7")),
        ("cluster", None, ("cluster", "")),
    ],
)
def test_a_resource_is_a_kind_and_its_name(
    kind: str, name: str | None, resource: tuple[str, str]
) -> None:
    assert checked_resource(kind, name) == resource


@pytest.mark.parametrize(
    ("kind", "name"),
    [("topic", None), ("broker", None), ("broker", "x"), ("broker", "-1"), ("cluster", "c")],
)
def test_a_resource_without_its_name_is_wrong_usage(kind: str, name: str | None) -> None:
    with pytest.raises(UsageFailed):
        checked_resource(kind, name)
