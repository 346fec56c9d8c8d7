"""Records into text."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla import ConsumerRecord
from ottla_cli.records.formats import RecordFormat, TextParts, formatter, iso_time

Record = ConsumerRecord[bytes, bytes]
FULL = Record(
    topic="flights",
    partition=3,
    offset=42,
    timestamp_ms=1_700_000_000_123,
    key=b"UA",
    value=b"late",
    headers=(("source", b"faa"), ("empty", None)),
)
ALL_PARTS = TextParts(timestamp=True, partition=True, offset=True, key=True, headers=True)


def _record(key: bytes | None = None, value: bytes | None = None) -> Record:
    return FULL._replace(key=key, value=value, headers=())


def _text(parts: TextParts, *records: Record) -> bytes:
    return formatter(RecordFormat.TEXT, parts)(records or [FULL])


def test_text_is_the_value_alone_unless_more_is_asked_for() -> None:
    assert _text(TextParts()) == b"late\n"


def test_text_with_every_part() -> None:
    assert _text(ALL_PARTS) == (
        b"2023-11-14T22:13:20.123Z\t3\t42\tsource=faa,empty=null\tUA\tlate\n"
    )


def test_value_alone_is_the_same_whether_parts_are_asked_for_or_not() -> None:
    records = [_record(value=each) for each in (b"a", None, b"", b"\n")]
    assert _text(TextParts(), *records) == b"a\nnull\n\n\n\n"
    assert _text(TextParts(), *records) == b"".join(map(TextParts().line, records))


def test_separator_and_text_for_nothing_can_be_chosen() -> None:
    parts = TextParts(key=True, separator=" | ", null_text="-")
    assert _text(parts, _record()) == b"- | -\n"
    assert _text(parts, _record(key=b"", value=b"")) == b" | \n"


def test_text_is_the_bytes_themselves_off_a_terminal() -> None:
    assert _text(TextParts(), _record(value=b"\xff\x1b[31m")) == b"\xff\x1b[31m\n"


@given(st.binary())
def test_no_data_acts_on_a_terminal(data: bytes) -> None:
    line = _text(TextParts(key=True, is_terminal=True), _record(data, data)).decode()
    assert line.endswith("\n")
    assert not any(
        (ord(each) < 32 and each not in "\t\n") or 127 <= ord(each) < 160 for each in line
    )


def test_json_is_one_object_a_line() -> None:
    lines = formatter(RecordFormat.JSON, TextParts())([FULL, FULL])
    assert lines.count(b"\n") == 2
    assert json.loads(lines.splitlines()[1]) == {
        "topic": "flights",
        "partition": 3,
        "offset": 42,
        "timestamp_ms": 1_700_000_000_123,
        "key": "UA",
        "value": "late",
        "headers": [{"key": "source", "value": "faa"}, {"key": "empty", "value": None}],
    }


@given(st.none() | st.binary())
def test_json_keeps_every_value(value: bytes | None) -> None:
    line = formatter(RecordFormat.JSON, TextParts())([_record(value=value)])
    read = json.loads(line)["value"]
    if isinstance(read, dict):
        assert base64.b64decode(read["base64"]) == value
    else:
        assert (read.encode() if read is not None else None) == value


def test_raw_is_the_values_bytes_and_nothing_else() -> None:
    raw = formatter(RecordFormat.RAW, TextParts())
    assert raw([FULL, _record(), _record(value=b"\n\x00")]) == b"late\n\x00"


@pytest.mark.parametrize(
    ("timestamp_ms", "text"),
    [
        (0, "1970-01-01T00:00:00.000Z"),
        (1_700_000_000_007, "2023-11-14T22:13:20.007Z"),
        (-1, "-1"),
        (2**62, str(2**62)),
    ],
)
def test_times_are_iso_8601(timestamp_ms: int, text: str) -> None:
    assert iso_time(timestamp_ms) == text
