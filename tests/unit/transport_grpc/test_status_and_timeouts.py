"""Statuses in trailers, and the header that grants time."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport import status
from ottla_broker.transport.timeouts import timeout_seconds


@given(st.text(max_size=300))
def test_a_message_survives_percent_encoding(message: Any) -> None:
    encoded = status.percent_encoded(message)
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    assert unquote_to_bytes(encoded) == message.encode("utf-8", "replace")


@pytest.mark.parametrize(
    ("message", "encoded"),
    [(" x y ", b"%20x y%20"), (" ", b"%20"), ("  ", b"%20%20"), ("", b"")],
)
def test_a_message_has_no_bare_space_at_its_ends(message: str, encoded: bytes) -> None:
    assert status.percent_encoded(message) == encoded


def test_printable_ascii_but_percent_stays_as_it_is() -> None:
    assert status.percent_encoded("a b~%\n") == b"a b~%25%0A"


@given(st.text("aé \U0001f600%", min_size=2000, max_size=5000))
def test_a_long_message_is_cut_between_characters(message: Any) -> None:
    encoded = status.percent_encoded(message)
    assert len(encoded) <= 4096
    assert message.startswith(unquote_to_bytes(encoded).decode())


@pytest.mark.parametrize(
    ("code", "number"), [(grpc.StatusCode.NOT_FOUND, 5), (3, 3), (99, 2), (-1, 2)]
)
def test_codes_come_as_enum_or_number(code: Any, number: int) -> None:
    assert status.code_number(code) == number


def test_something_else_is_no_code() -> None:
    with pytest.raises(grpc.aio.UsageError):
        status.code_number("NOT_FOUND")


def test_plain_success_is_the_one_constant() -> None:
    assert status.status_trailers(0, "", ()) is status.OK_TRAILERS


def test_an_error_before_headers_is_one_block() -> None:
    assert status.trailers_only(5, "no", [(b"a", b"b")]) == (
        (b":status", b"200"),
        (b"content-type", b"application/grpc"),
        (b"grpc-accept-encoding", b"identity,deflate,gzip"),
        (b"grpc-status", b"5"),
        (b"grpc-message", b"no"),
        (b"a", b"b"),
    )


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (b"2H", 7200),
        (b"3M", 180),
        (b"4S", 4),
        (b"500m", 0.5),
        (b"600u", 0.0006),
        (b"700n", 0.0000007),
        (b"99999999S", 99_999_999),
        (b"0n", 0),
    ],
)
def test_a_timeout_is_read_in_each_unit(header: Any, seconds: Any) -> None:
    assert timeout_seconds(header) == pytest.approx(seconds)


@pytest.mark.parametrize("header", [b"", b"S", b"1", b"1s", b"-1S", b"1.5S", b"100000000S", b"1S "])
def test_a_malformed_timeout_is_refused(header: Any) -> None:
    with pytest.raises(ValueError, match="malformed grpc-timeout"):
        timeout_seconds(header)


@given(st.integers(0, 99_999_999), st.sampled_from([b"H", b"M", b"S", b"m", b"u", b"n"]))
def test_every_legal_timeout_is_read(number: int, unit: Any) -> None:
    assert timeout_seconds(b"%d%s" % (number, unit)) >= 0
