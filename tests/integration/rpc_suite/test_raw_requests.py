"""Requests that stock clients do not make, by raw frames, to our server."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from ottla_broker.transport import Server
from ottla_broker.transport.limits import TransportLimits

from .arrangement import TLS, tls_context
from .raw_client import RawClient, framed, request_headers

LIMIT = 100_000


async def echo(request: bytes, context: Any) -> bytes:
    return request


async def describe(request: bytes, context: Any) -> bytes:
    pairs = [pair for pair in context.invocation_metadata() if pair[0].startswith("x-")]
    return repr((context.time_remaining(), [tuple(pair) for pair in pairs])).encode()


async def collect(requests: AsyncIterator[bytes], context: Any) -> bytes:
    return b",".join([request async for request in requests])


@pytest.fixture(params=["plaintext", "tls"])
async def client(request: pytest.FixtureRequest) -> AsyncIterator[RawClient]:
    server = Server(limits=TransportLimits(message_size_max=LIMIT))
    server.add_registered_method_handlers(
        "raw.Raw",
        {
            "Echo": grpc.unary_unary_rpc_method_handler(echo),
            "Describe": grpc.unary_unary_rpc_method_handler(describe),
            "Collect": grpc.stream_unary_rpc_method_handler(collect),
        },
    )
    has_tls = request.param == "tls"
    address = "127.0.0.1:0"
    port = server.add_secure_port(address, TLS) if has_tls else server.add_insecure_port(address)
    await server.start()
    try:
        async with RawClient(port, tls=tls_context() if has_tls else None) as connected:
            yield connected
    finally:
        await server.stop(None)


ECHO = request_headers("/raw.Raw/Echo")


async def test_a_good_request_gets_headers_message_and_trailers(client: RawClient) -> None:
    answer = await client.call(ECHO, framed(b"hello"))
    assert answer.blocks == [
        {
            ":status": "200",
            "content-type": "application/grpc",
            "grpc-accept-encoding": "identity,deflate,gzip",
        },
        {"grpc-status": "0"},
    ]
    assert answer.data == framed(b"hello")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_only_post_is_taken(client: RawClient, method: str) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[(":method", method)])
    (block,) = (await client.call(headers, framed(b""))).blocks
    assert (block[":status"], block["grpc-status"]) == ("405", "13")


@pytest.mark.parametrize("content_type", ["text/plain", "application/json", "application/grpcx"])
async def test_another_content_type_is_415(client: RawClient, content_type: str) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("content-type", content_type)])
    (block,) = (await client.call(headers, framed(b""))).blocks
    assert block[":status"] == "415"


async def test_a_foreign_request_with_a_foreign_body_is_415_too(client: RawClient) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("content-type", "application/json")])
    answer = await client.call(headers, b'{"hello": "world"}')
    assert ([block[":status"] for block in answer.blocks], answer.reset) == (["415"], None)


async def test_a_prefix_that_is_none_of_grpc_is_internal(client: RawClient) -> None:
    answer = await client.call(ECHO, b"\x07" + framed(b"hello")[1:])
    assert answer.status == (
        13,
        "Request is not framed as gRPC: compressed flag of a message is 7",
    )
    assert (await client.call(ECHO, framed(b"next"))).status == (0, "")


async def test_grpc_with_proto_is_taken(client: RawClient) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("content-type", "application/grpc+proto")])
    assert (await client.call(headers, framed(b"x"))).status == (0, "")


async def test_te_trailers_is_required(client: RawClient) -> None:
    answer = await client.call(request_headers("/raw.Raw/Echo", without="te"), framed(b""))
    assert answer.blocks[0][":status"] == "400"


async def test_an_unknown_method_answers_in_one_block(client: RawClient) -> None:
    answer = await client.call(request_headers("/raw.Raw/Nothing"), framed(b""))
    (block,) = answer.blocks
    assert (block[":status"], block["grpc-status"]) == ("200", "12")
    assert answer.data == b""


@pytest.mark.parametrize("body", [b"", framed(b"a") + framed(b"b")])
async def test_a_unary_request_of_none_or_two_messages_is_internal(
    client: RawClient, body: bytes
) -> None:
    answer = await client.call(ECHO, body)
    assert answer.status[0] == 13
    assert len(answer.blocks) == 1
    assert (await client.call(ECHO, framed(b"next"))).status == (0, "")


async def test_a_request_of_headers_alone_has_no_message(client: RawClient) -> None:
    assert (await client.call(ECHO)).status[0] == 13


@pytest.mark.parametrize("cut", [1, 4, 5, 7])
async def test_a_request_that_ends_inside_a_message_is_internal(
    client: RawClient, cut: int
) -> None:
    assert (await client.call(ECHO, framed(b"abcdef")[:cut])).status[0] == 13


async def test_a_message_in_single_bytes_arrives(client: RawClient) -> None:
    body = framed(b"slow")
    answer = await client.call(ECHO, *(body[at : at + 1] for at in range(len(body))))
    assert answer.data == body


async def test_a_length_above_the_limit_is_refused_before_its_bytes_come(
    client: RawClient,
) -> None:
    prefix = framed(bytes(LIMIT + 1))[:5]
    answer = await client.call(ECHO, prefix, end=False)
    assert answer.status == (8, f"received message larger than max ({LIMIT + 1} vs. {LIMIT})")


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [("gzip", gzip.compress(b"hello")), ("deflate", zlib.compress(b"hello"))],
)
async def test_compressed_requests_are_unpacked(
    client: RawClient, encoding: str, payload: bytes
) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("grpc-encoding", encoding)])
    answer = await client.call(headers, framed(payload, compressed=1))
    assert answer.data == framed(b"hello")


async def test_an_encoding_may_be_announced_and_not_used(client: RawClient) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("grpc-encoding", "gzip")])
    assert (await client.call(headers, framed(b"plain"))).data == framed(b"plain")


async def test_an_unknown_encoding_is_unimplemented_and_names_the_known(client: RawClient) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("grpc-encoding", "snappy")])
    answer = await client.call(headers, framed(b"x", compressed=1))
    assert answer.status[0] == 12
    assert answer.blocks[0]["grpc-accept-encoding"] == "identity,deflate,gzip"


@pytest.mark.parametrize("encoding", ["identity", None])
async def test_a_compressed_message_without_encoding_is_internal(
    client: RawClient, encoding: str | None
) -> None:
    extra = [("grpc-encoding", encoding)] if encoding else []
    headers = request_headers("/raw.Raw/Echo", extra=extra)
    assert (await client.call(headers, framed(b"x", compressed=1))).status[0] == 13


async def test_a_bomb_is_cut_off(client: RawClient) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("grpc-encoding", "gzip")])
    bomb = framed(gzip.compress(bytes(30_000_000)), compressed=1)
    pieces = [bomb[at : at + 16_000] for at in range(0, len(bomb), 16_000)]
    answer = await client.call(headers, *pieces)
    assert answer.status == (8, f"Decompressed message larger than max ({LIMIT})")


@pytest.mark.parametrize("unit", ["H", "M", "S", "m", "u", "n"])
async def test_a_timeout_is_taken_in_each_unit(client: RawClient, unit: str) -> None:
    seconds = {"H": 3600, "M": 60, "S": 1, "m": 1e-3, "u": 1e-6, "n": 1e-9}[unit]
    headers = request_headers("/raw.Raw/Describe", extra=[("grpc-timeout", f"99999999{unit}")])
    answer = await client.call(headers, framed(b""))
    if unit == "n":
        # A tenth of a second: enough, or the deadline's own status.
        assert answer.status[0] in {0, 4}
        return
    remaining = float(answer.data[5:].split(b",")[0][1:])
    assert 0 < remaining <= 99_999_999 * seconds


@pytest.mark.parametrize("granted", ["", "5", "S", "123456789S", "5s", "-5S"])
async def test_a_malformed_timeout_is_internal(client: RawClient, granted: str) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("grpc-timeout", granted)])
    assert (await client.call(headers, framed(b""))).status[0] == 13


async def test_a_deadline_that_has_passed_is_exceeded(client: RawClient) -> None:
    headers = request_headers("/raw.Raw/Collect", extra=[("grpc-timeout", "1m")])
    answer = await client.call(headers, framed(b"and then nothing"), end=False)
    assert answer.status == (4, "Deadline Exceeded")


async def test_binary_metadata_comes_with_and_without_padding_and_joined(
    client: RawClient,
) -> None:
    extra = [("x-a-bin", "AQ=="), ("x-a-bin", "Ag"), ("x-a-bin", "Aw==,BA"), ("x-b", "t")]
    headers = request_headers("/raw.Raw/Describe", extra=extra)
    answer = await client.call(headers, framed(b""))
    wanted = [("x-a-bin", b"\1"), ("x-a-bin", b"\2"), ("x-a-bin", b"\3"), ("x-a-bin", b"\4")]
    assert answer.data[5:] == repr((None, [*wanted, ("x-b", "t")])).encode()


async def test_malformed_binary_metadata_is_internal(client: RawClient) -> None:
    headers = request_headers("/raw.Raw/Echo", extra=[("x-a-bin", "!")])
    assert (await client.call(headers, framed(b""))).status[0] == 13
