"""Compression of single messages and the bound on inflation."""

from __future__ import annotations

import gzip
import zlib
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.transport.compression import (
    CorruptCompression,
    deflated,
    inflated,
    is_supported,
    response_encoding,
)
from ottla_broker.transport.stream import MessageTooLarge

encodings = st.sampled_from([b"gzip", b"deflate"])


@given(st.lists(st.binary(max_size=200), max_size=5), encodings)
def test_what_is_compressed_in_parts_unpacks_to_the_whole(parts: Any, encoding: Any) -> None:
    message = b"".join(parts)
    packed = memoryview(deflated(parts, encoding))
    assert inflated(packed, encoding, limit=len(message)) == message


@given(st.integers(0, 5000), st.integers(0, 5000), encodings)
def test_a_message_unpacks_only_within_the_limit(size: int, limit: Any, encoding: Any) -> None:
    packed = memoryview(deflated([bytes(size)], encoding))
    if size <= limit:
        assert inflated(packed, encoding, limit=limit) == bytes(size)
        return
    with pytest.raises(MessageTooLarge):
        inflated(packed, encoding, limit=limit)


def test_a_bomb_is_cut_off_at_the_limit() -> None:
    packed = memoryview(gzip.compress(bytes(50_000_000)))
    with pytest.raises(MessageTooLarge) as error:
        inflated(packed, b"gzip", limit=1000)
    assert error.value.size == 1001


@given(st.binary(max_size=300), encodings)
def test_any_bytes_unpack_or_are_refused(data: Any, encoding: Any) -> None:
    try:
        message = inflated(memoryview(data), encoding, limit=1000)
    except (CorruptCompression, MessageTooLarge):
        return
    assert len(message) <= 1000


@pytest.mark.parametrize(
    "data",
    [b"", gzip.compress(b"abc")[:-1], gzip.compress(b"abc") + b"x", zlib.compress(b"abc"), b"abc"],
)
def test_what_is_not_one_whole_gzip_stream_is_refused(data: Any) -> None:
    with pytest.raises(CorruptCompression):
        inflated(memoryview(data), b"gzip", limit=1000)


def test_three_encodings_are_supported() -> None:
    names = (b"gzip", b"deflate", b"identity", b"br", b"")
    assert [is_supported(name) for name in names] == [True, True, True, False, False]


@pytest.mark.parametrize(
    ("wanted", "accepted", "chosen"),
    [
        (None, b"gzip", None),
        (grpc.Compression.NoCompression, b"identity,gzip", None),
        (grpc.Compression.Gzip, b"identity, deflate, gzip", b"gzip"),
        (grpc.Compression.Deflate, b"deflate", b"deflate"),
        (grpc.Compression.Gzip, b"identity,deflate", None),
        (grpc.Compression.Gzip, b"", None),
    ],
)
def test_only_what_the_client_accepts_is_used(wanted: Any, accepted: Any, chosen: Any) -> None:
    assert response_encoding(wanted, accepted) == chosen
