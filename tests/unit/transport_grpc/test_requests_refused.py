"""Requests that get no handler, and how they are answered."""

from __future__ import annotations

from typing import Any

import pytest

from .fake_stream import FakeStream, request_headers
from .serving import Serving, finished


async def answer(headers: Any) -> Any:
    serving = Serving()
    stream = FakeStream(headers)
    serving.server.on_stream(stream)
    await finished(stream)
    assert stream.sent_headers is None
    return dict(stream.trailers)


async def test_an_unknown_method_is_unimplemented() -> None:
    fields = await answer(request_headers("Nothing"))
    assert fields[b":status"] == b"200"
    assert (fields[b"grpc-status"], fields[b"grpc-message"]) == (b"12", b"Method not found!")


@pytest.mark.parametrize("method", [b"GET", b"PUT", b"CONNECT"])
async def test_only_post_is_taken(method: Any) -> None:
    fields = await answer(request_headers(extra=[(b":method", method)]))
    assert fields[b":status"] == b"405"


@pytest.mark.parametrize(
    "content_type", [b"text/html", b"application/json", b"application/grpc-web", b""]
)
async def test_another_content_type_is_415(content_type: Any) -> None:
    fields = await answer(request_headers(extra=[(b"content-type", content_type)]))
    assert fields[b":status"] == b"415"
    assert fields[b"grpc-status"] == b"2"


async def test_a_missing_content_type_is_415() -> None:
    assert (await answer(request_headers(without=b"content-type")))[b":status"] == b"415"


@pytest.mark.parametrize(
    "content_type",
    [b"application/grpc", b"application/grpc+proto", b"application/grpc; charset=utf-8"],
)
async def test_grpc_content_types_are_taken(content_type: Any) -> None:
    fields = await answer(request_headers("Nothing", extra=[(b"content-type", content_type)]))
    assert fields[b":status"] == b"200"


async def test_te_trailers_is_required() -> None:
    fields = await answer(request_headers(without=b"te"))
    assert (fields[b":status"], fields[b"grpc-status"]) == (b"400", b"13")


async def test_an_unknown_encoding_is_unimplemented_and_names_what_is_known() -> None:
    fields = await answer(request_headers(extra=[(b"grpc-encoding", b"br")]))
    assert fields[b"grpc-status"] == b"12"
    assert fields[b"grpc-accept-encoding"] == b"identity,deflate,gzip"


async def test_a_malformed_timeout_is_internal() -> None:
    fields = await answer(request_headers(extra=[(b"grpc-timeout", b"soon")]))
    assert fields[b"grpc-status"] == b"13"


async def test_malformed_binary_metadata_is_internal() -> None:
    fields = await answer(request_headers(extra=[(b"x-bin", b"!")]))
    assert (fields[b"grpc-status"], fields[b"grpc-message"]) == (
        b"13",
        b"metadata 'x-bin' is not base64",
    )
