"""Lines into records."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_cli.failures import CommandFailed, UsageFailed
from ottla_cli.records.lines import Header, LineCutter, LineRule, parse_header


def _cut(chunks: list[bytes], line_bytes_max: int = 1_000) -> list[bytes]:
    cutter = LineCutter(line_bytes_max=line_bytes_max)
    lines = [line for chunk in chunks for line in cutter.feed(chunk)]
    lines += cutter.finish()
    assert cutter.count == len(lines)
    return lines


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\nb\n", [b"a", b"b"]),
        (b"a\r\n\r\nb", [b"a", b"", b"b"]),
        (b"\n", [b""]),
        (b"a\rb\n", [b"a\rb"]),
    ],
)
def test_lines_are_cut_at_line_ends(text: bytes, lines: list[bytes]) -> None:
    assert _cut([text]) == lines


@given(st.lists(st.binary(max_size=20)), st.data())
def test_lines_do_not_depend_on_how_chunks_fall(chunks: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(chunks)
    assert _cut(chunks) == _cut([whole]) == _cut([bytes([each]) for each in whole])


@pytest.mark.parametrize("text", [b"1234\n12345\n", b"1234\n12345", b"1234\n123456789"])
def test_line_that_fits_no_record_is_refused_with_its_number(text: bytes) -> None:
    with pytest.raises(CommandFailed, match="line 2 is longer than 4 bytes"):
        _cut([text], line_bytes_max=4)


def test_line_of_the_largest_size_passes() -> None:
    assert _cut([b"1234\r\n1234"], line_bytes_max=4) == [b"1234", b"1234"]


@pytest.mark.parametrize(
    ("rule", "line", "key", "value"),
    [
        (LineRule(), b"a:b", None, b"a:b"),
        (LineRule(), b"", None, b""),
        (LineRule(key=b"k"), b"v", b"k", b"v"),
        (LineRule(separator=b":"), b"a:b:c", b"a", b"b:c"),
        (LineRule(separator=b":"), b":b", b"", b"b"),
        (LineRule(separator=b"::"), b"a::", b"a", b""),
        (LineRule(null_value=b"NULL"), b"NULL", None, None),
        (LineRule(separator=b":", null_value=b""), b"a:", b"a", None),
    ],
)
def test_line_becomes_key_and_value(
    rule: LineRule, line: bytes, key: bytes | None, value: bytes | None
) -> None:
    record = rule.record(line, 1)
    assert (record.key, record.value) == (key, value)


def test_line_without_separator_is_refused_with_its_number() -> None:
    with pytest.raises(CommandFailed, match="line 7 has no ':' between key and value"):
        LineRule(separator=b":").record(b"a b", 7)


@pytest.mark.parametrize(
    ("text", "header"),
    [
        ("a=b", Header("a", b"b")),
        ("a=b=c", Header("a", b"b=c")),
        ("a=", Header("a", b"")),
    ],
)
def test_header_is_read(text: str, header: Header) -> None:
    assert parse_header(text) == header


@pytest.mark.parametrize("text", ["=b", "a", ""])
def test_header_without_a_name_or_without_an_equals_sign_is_refused(text: str) -> None:
    with pytest.raises(UsageFailed, match=f"header '{text}': write name=value"):
        parse_header(text)
