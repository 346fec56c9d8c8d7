"""Where reading begins, as people write it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from ottla_cli.failures import EXIT_USAGE, UsageFailed
from ottla_cli.records.positions import Start, parse_offset, parse_since, parse_start

NOW = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
NOW_MS = 1_769_860_800_000


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("0", Start(offset=0)),
        ("17", Start(offset=17)),
        ("-5", Start(last_count=5)),
        ("earliest", Start(earliest=True)),
        ("latest", Start()),
    ],
)
def test_offset_is_read(text: str, start: Start) -> None:
    assert parse_offset(text) == start


@pytest.mark.parametrize("text", ["", "1.5", "--1", "x", "9" * 19, "9" * 30, "٣"])
def test_what_is_no_offset_is_refused(text: str) -> None:
    with pytest.raises(UsageFailed, match="is none of") as caught:
        parse_offset(text)
    assert caught.value.code == EXIT_USAGE


@pytest.mark.parametrize(
    ("text", "expected_ms"),
    [
        ("250ms", NOW_MS - 250),
        ("90s", NOW_MS - 90_000),
        ("15m", NOW_MS - 900_000),
        ("2h", NOW_MS - 7_200_000),
        ("7d", NOW_MS - 604_800_000),
        ("99999d", 0),
        ("2026-01-31T11:59:59.5Z", NOW_MS - 500),
        ("2026-01-31T13:00:00+01:00", NOW_MS),
        ("1960-01-01T00:00:00Z", 0),
    ],
)
def test_moment_is_read(text: str, expected_ms: int) -> None:
    assert parse_since(text, NOW) == expected_ms


@pytest.mark.parametrize("text", ["", "soon", "15", "m", "2026-13-01", "9999999999d", "1e3s"])
def test_what_is_no_moment_is_refused(text: str) -> None:
    with pytest.raises(UsageFailed, match="neither a duration"):
        parse_since(text, NOW)


@pytest.mark.parametrize(
    ("from_beginning", "offset", "since", "start"),
    [
        (False, None, None, Start()),
        (True, None, None, Start(earliest=True)),
        (False, "3", None, Start(offset=3)),
        (False, None, "1s", Start(timestamp_ms=NOW_MS - 1_000)),
    ],
)
def test_start_comes_from_the_option_given(
    from_beginning: bool, offset: str | None, since: str | None, start: Start
) -> None:
    assert parse_start(from_beginning=from_beginning, offset=offset, since=since, now=NOW) == start


def test_two_starts_contradict_each_other() -> None:
    with pytest.raises(UsageFailed, match="give one of"):
        parse_start(from_beginning=True, offset="1", since=None, now=NOW)
