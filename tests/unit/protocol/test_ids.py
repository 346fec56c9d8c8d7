"""Topic names: Kafka's rule, with a message for each way to break it."""

from __future__ import annotations

import pytest

from ottla.protocol.errors import InvalidTopic
from ottla.protocol.ids import check_topic_name, is_internal_topic


@pytest.mark.parametrize("name", ["a", "flights", "a.b_c-D9", "...", "__offsets", "x" * 249])
def test_name_within_the_rule_is_returned(name: str) -> None:
    assert check_topic_name(name) == name


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("", "must not be empty"),
        (".", "cannot be named '.'"),
        ("..", "cannot be named '..'"),
        ("x" * 250, "has 250 characters"),
        ("a/b", "'a/b' may hold only"),
        ("a b", "may hold only"),
        ("naïve", "may hold only"),
        ("a\n", "may hold only"),
        ("a\x00", "may hold only"),
        ("\ud800", "may hold only"),
        ("٣", "may hold only"),
    ],
)
def test_name_outside_the_rule_says_which_part_it_breaks(name: str, words: str) -> None:
    with pytest.raises(InvalidTopic) as caught:
        check_topic_name(name)
    assert words in caught.value.message
    caught.value.message.encode()  # can always be sent


def test_two_underscores_make_a_topic_internal() -> None:
    assert is_internal_topic("__groups")
    assert not is_internal_topic("_groups")
