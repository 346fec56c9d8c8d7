"""Metadata to headers and back."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.metadata import (
    MalformedMetadata,
    received_metadata,
    sendable_headers,
)

keys = st.text("abcdefghijklmnopqrstuvwxyz0123456789_.-", min_size=1, max_size=12).map("x-".__add__)
texts = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)).map(
    lambda text: text.strip(" ")
)
pairs = st.one_of(
    st.tuples(keys.filter(lambda key: not key.endswith("-bin")), texts),
    st.tuples(keys.map(lambda key: key + "-bin"), st.binary()),
)


@given(st.lists(pairs))
def test_what_is_sent_arrives_in_order_with_repeated_keys(metadata: Any) -> None:
    assert list(received_metadata(sendable_headers(metadata))) == metadata


@given(st.binary(), st.booleans())
def test_binary_values_are_read_with_and_without_padding(value: Any, padded: Any) -> None:
    encoded = base64.b64encode(value)
    header = encoded if padded else encoded.rstrip(b"=")
    assert received_metadata([(b"x-bin", header)]) == (("x-bin", value),)


def test_values_joined_by_commas_become_pairs_of_their_own() -> None:
    headers = [(b"x-bin", b"AQ==,Ag"), (b"x", b"a,b")]
    assert received_metadata(headers) == (("x-bin", b"\1"), ("x-bin", b"\2"), ("x", "a,b"))


@pytest.mark.parametrize("value", [b"!", b"A", b"AAAAA", b"a b c"])
def test_a_binary_value_that_is_not_base64_is_refused(value: Any) -> None:
    with pytest.raises(MalformedMetadata, match="x-bin"):
        received_metadata([(b"x-bin", value)])


@given(st.binary())
def test_any_binary_header_is_read_or_refused(value: Any) -> None:
    try:
        pairs = received_metadata([(b"x-bin", value)])
    except MalformedMetadata:
        return
    assert all(isinstance(pair.value, bytes) for pair in pairs)


def test_what_the_protocol_says_in_headers_is_hidden() -> None:
    headers = [
        (b":path", b"/a/b"),
        (b"te", b"trailers"),
        (b"content-type", b"application/grpc"),
        (b"grpc-timeout", b"1S"),
        (b"grpc-encoding", b"gzip"),
        (b"grpc-accept-encoding", b"gzip"),
        (b"user-agent", b"x"),
        (b"grpc-previous-rpc-attempts", b"1"),
    ]
    assert received_metadata(headers) == (("user-agent", "x"), ("grpc-previous-rpc-attempts", "1"))


def test_a_pair_has_key_and_value_by_name() -> None:
    (pair,) = received_metadata([(b"a", b"b")])
    assert (pair.key, pair.value) == ("a", "b")


@pytest.mark.parametrize(
    ("pair", "error"),
    [
        (("Upper", "x"), ValueError),
        (("", "x"), ValueError),
        ((":path", "x"), ValueError),
        (("grpc-status", "0"), ValueError),
        (("connection", "close"), ValueError),
        (("a", "line\nbreak"), ValueError),
        (("a", "grüße"), ValueError),
        (("a", b"\0"), ValueError),
        (("a", 1), TypeError),
        ((b"a", "x"), TypeError),
        ("ab", TypeError),
    ],
)
def test_metadata_that_cannot_travel_is_refused(pair: Any, error: Any) -> None:
    with pytest.raises(error):
        sendable_headers([pair])


def test_space_around_a_value_is_let_go() -> None:
    assert sendable_headers([("x-a", "  b c ")]) == [(b"x-a", b"b c")]


def test_status_details_may_be_sent() -> None:
    assert sendable_headers([("grpc-status-details-bin", b"\1")]) == [
        (b"grpc-status-details-bin", b"AQ")
    ]
