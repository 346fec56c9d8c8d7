"""Messages of file ranges: sent in their parts, and every file let go however a call ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc

from ottla_broker.transport.stream import EncodedMessage, FileRange

from .fake_stream import FakeFile
from .serving import Serving, settled


async def test_a_reset_cancels_a_handler_blocked_on_a_full_queue_and_frees_files() -> None:
    file = FakeFile()

    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        while True:
            file.acquire()
            yield EncodedMessage((b"x", FileRange(file, 0, 7)))

    serving = Serving()
    serving.streaming(handler)
    stream = serving.open(room=2)
    await settled()
    assert stream.sent == [b"x<7>", b"x<7>"]
    assert file.holders == 1
    stream.client_resets()
    await settled()
    assert file.holders == 0


async def test_a_response_that_comes_after_the_clients_reset_is_dropped_and_frees_its_file() -> (
    None
):
    file = FakeFile()

    async def handler(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            file.acquire()
        return EncodedMessage((FileRange(file, 0, 7),))

    serving = Serving()
    serving.unary(handler)
    stream = serving.open().request(b"").end_requests()
    await settled()
    stream.client_resets()
    await settled()
    assert (stream.sent, stream.trailers, file.holders) == ([], None, 0)


async def test_a_cancelled_handler_that_yields_again_sends_nothing_and_frees_its_file() -> None:
    file = FakeFile()
    closed = []

    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    file.acquire()
                    yield EncodedMessage((FileRange(file, 0, 7),))
        finally:
            closed.append(True)

    serving = Serving()
    serving.streaming(handler)
    stream = serving.open()
    await settled()
    stream.client_resets()
    await settled()
    assert (stream.sent, stream.trailers, file.holders, closed) == ([], None, 0, [True])


async def test_an_encoded_message_of_a_derived_class_is_never_compressed() -> None:
    class Batch(EncodedMessage):
        pass

    async def handler(request: Any, context: Any) -> Any:
        context.set_compression(grpc.Compression.Gzip)
        return Batch((b"x", FileRange(FakeFile(), 0, 7)))

    serving = Serving()
    serving.unary(handler)
    stream = await serving.call(b"", extra=[(b"grpc-accept-encoding", b"gzip")])
    assert (stream.sent, stream.sent_compressed) == ([b"x<7>"], [False])


async def test_writing_after_an_abort_raises_it_again_and_releases_files() -> None:
    file = FakeFile()
    seen = []

    async def handler(requests: Any, context: Any) -> None:
        try:
            await context.abort(grpc.StatusCode.ABORTED, "no")
        except grpc.aio.AbortError as error:
            seen.append(error)
        file.acquire()
        try:
            await context.write(EncodedMessage((FileRange(file, 0, 1),)))
        except grpc.aio.AbortError as error:
            seen.append(error)

    serving = Serving()
    serving.streaming(handler)
    stream = await serving.call()
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert file.holders == 0
    assert stream.status() == (10, "no")


async def test_an_error_status_drops_a_unary_response_and_releases_its_file() -> None:
    file = FakeFile()

    async def handler(request: Any, context: Any) -> Any:
        context.set_code(grpc.StatusCode.DATA_LOSS)
        context.set_details("gone")
        file.acquire()
        return EncodedMessage((FileRange(file, 0, 1),))

    serving = Serving()
    serving.unary(handler)
    stream = await serving.call(b"")
    assert stream.status() == (15, "gone")
    assert stream.sent_headers is None
    assert file.holders == 0


async def test_an_encoded_message_goes_out_in_its_parts() -> None:
    file = FakeFile()

    async def handler(request: Any, context: Any) -> Any:
        file.acquire()
        return EncodedMessage((b"head", memoryview(b"view"), FileRange(file, 10, 99)))

    serving = Serving()
    serving.unary(handler)
    stream = await serving.call(b"")
    assert stream.sent == [b"headview<99>"]
    assert file.holders == 0
