"""Sizes, compression and file ranges."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import BytesValue

from ottla_broker.transport.stream import EncodedMessage, FileRange

from .arrangement import Rpc, failure, message

MIB = 1024 * 1024


async def echo(request: Any, context: Any) -> Any:
    return request


async def echo_all(requests: Any, context: Any) -> AsyncIterator[Any]:
    async for request in requests:
        yield request


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_384, 65_535, 65_536, MIB, 4 * MIB - 100])
async def test_messages_of_any_size_go_both_ways(rpc: Rpc, size: int) -> None:
    await rpc.method("unary", echo).serve()
    payload = os.urandom(size)
    assert (await rpc.stub("unary")(message(payload))).value == payload


async def test_a_request_beyond_the_limit_is_resource_exhausted(rpc: Rpc) -> None:
    await rpc.method("unary", echo).method("bidi", echo_all, "Stream").serve()
    error = await failure(rpc.stub("unary")(message(bytes(4 * MIB + 1))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in str(error.details())
    call = rpc.stub("bidi", "Stream")(iter([message("x"), message(bytes(4 * MIB + 1))]))
    assert (await failure(call)).code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert (await rpc.stub("unary")(message("still here"))).value == b"still here"


@pytest.mark.parametrize("algorithm", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_and_responses(rpc: Rpc, algorithm: Any) -> None:
    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        context.set_compression(algorithm)
        number = 0
        async for request in requests:
            number += 1
            if number == 2:
                context.disable_next_message_compression()
            yield request

    await rpc.method("bidi", handler).serve()
    channel = rpc.connect(compression=algorithm)
    payloads = [bytes(100_000), b"", os.urandom(1000), b"a" * 500_000]
    call = rpc.stub("bidi", channel=channel)(iter([message(item) for item in payloads]))
    assert [item.value async for item in call] == payloads


async def test_a_server_compresses_by_default_when_told_so(rpc: Rpc) -> None:
    await rpc.method("unary", echo).serve(compression=grpc.Compression.Gzip)
    assert (await rpc.stub("unary")(message(bytes(200_000)))).value == bytes(200_000)


async def test_a_decompression_bomb_is_resource_exhausted(rpc: Rpc) -> None:
    await rpc.method("unary", echo).serve()
    channel = rpc.connect(compression=grpc.Compression.Gzip)
    error = await failure(rpc.stub("unary", channel=channel)(message(bytes(40 * MIB))))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "larger than max" in str(error.details())


class File:
    """A file of known bytes, with its holders counted."""

    def __init__(self, path: Any, content: Any) -> None:
        path.write_bytes(content)
        self._descriptor = os.open(path, os.O_RDONLY)
        self.holders = 0

    def fileno(self) -> Any:
        return self._descriptor

    def acquire(self) -> None:
        self.holders += 1

    def release(self) -> None:
        self.holders -= 1

    def close(self) -> None:
        os.close(self._descriptor)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Any]:
    opened = File(tmp_path / "segment", os.urandom(5 * MIB))
    yield opened
    opened.close()


def range_message(file: Any, position: int, size: int) -> Any:
    """A `BytesValue` whose value is a range of `file`."""
    prefix = BytesValue(value=bytes(size)).SerializeToString()[:-size]
    file.acquire()
    return EncodedMessage((prefix, FileRange(file, position, size)))


@pytest.mark.may_block(reason="grpc's serializer reads a range where it is called")
@pytest.mark.parametrize(
    "options", [{}, {"grpc.http2.max_frame_size": 16_384, "grpc.http2.lookahead_bytes": 65_535}]
)
async def test_file_ranges_arrive_as_the_bytes_of_the_file(
    rpc: Rpc, file: Any, tmp_path: Path, options: Any
) -> None:
    content = (tmp_path / "segment").read_bytes()
    sizes = [1, 100, 16_384, 65_536, 999_999, MIB, 3 * MIB]

    async def handler(request: Any, context: Any) -> AsyncIterator[Any]:
        for size in sizes:
            yield range_message(file, 17, size)

    await rpc.method("server_stream", handler).serve()
    channel = rpc.connect(options=options)
    call = rpc.stub("server_stream", channel=channel)(message(""))
    received = [item.value async for item in call]
    assert [len(item) for item in received] == sizes
    assert received == [content[17 : 17 + size] for size in sizes]
    assert file.holders == 0


@pytest.mark.may_block(reason="grpc's serializer reads a range where it is called")
async def test_streams_of_file_ranges_beside_each_other_and_beside_small_calls(
    rpc: Rpc, file: Any, tmp_path: Path
) -> None:
    content = (tmp_path / "segment").read_bytes()

    async def ranges(request: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(20):
            yield range_message(file, number * 1000, 200_000)

    await rpc.method("server_stream", ranges).method("unary", echo, "Echo").serve()

    async def fetched() -> Any:
        call = rpc.stub("server_stream")(message(""))
        return [item.value async for item in call]

    async def small() -> Any:
        return [(await rpc.stub("unary", "Echo")(message(number))).value for number in range(50)]

    *streams, echoed = await asyncio.gather(*(fetched() for _ in range(4)), small())
    wanted = [content[number * 1000 : number * 1000 + 200_000] for number in range(20)]
    assert streams == [wanted] * 4
    assert echoed == [b"%d" % number for number in range(50)]
    assert file.holders == 0


@pytest.mark.may_block(reason="grpc's serializer reads a range where it is called")
async def test_files_are_released_when_the_client_leaves_in_the_middle(rpc: Rpc, file: Any) -> None:
    stopped = asyncio.Event()

    async def handler(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield range_message(file, 0, MIB)
        finally:
            stopped.set()

    await rpc.method("server_stream", handler).serve()
    call = rpc.stub("server_stream")(message(""))
    await call.read()
    call.cancel()
    await stopped.wait()
    await rpc.server.stop(None)
    assert file.holders == 0
