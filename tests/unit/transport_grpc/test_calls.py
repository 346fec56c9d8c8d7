"""One call: messages, statuses and the ways it ends, against a stream in memory."""

from __future__ import annotations

import asyncio
import gzip
import logging
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from ottla_broker.transport.handlers import raw_request
from ottla_broker.transport.stream import (
    EncodedMessage,
    MessageTooLarge,
    TruncatedMessage,
)

from .serving import MESSAGE_BYTES_MAX, Serving, finished, settled


async def echo(request: Any, context: Any) -> Any:
    return request


async def echo_all(requests: Any, context: Any) -> AsyncIterator[Any]:
    async for request in requests:
        yield request


async def wait_forever(request: Any, context: Any) -> None:
    await asyncio.Event().wait()


async def test_a_unary_call_answers_headers_message_and_status() -> None:
    serving = Serving()
    serving.unary(echo)
    stream = await serving.call(b"hello")
    assert stream.sent_headers[0] == (b":status", b"200")
    assert (stream.sent, stream.trailers) == ([b"hello"], [(b"grpc-status", b"0")])


async def test_a_stream_answers_in_order() -> None:
    serving = Serving()
    serving.streaming(echo_all)
    stream = await serving.call(*(b"%d" % number for number in range(100)))
    assert stream.sent == [b"%d" % number for number in range(100)]
    assert stream.status() == (0, "")


@pytest.mark.parametrize("requests", [(), (b"a", b"b")])
async def test_a_unary_request_of_none_or_two_messages_is_internal(requests: Any) -> None:
    serving = Serving()
    serving.unary(echo)
    stream = await serving.call(*requests)
    assert stream.status()[0] == 13
    assert stream.sent == []


@pytest.mark.parametrize(
    ("error", "code"),
    [(MessageTooLarge(size=2000, limit=1000), 8), (TruncatedMessage(), 13)],
)
@pytest.mark.parametrize("kind", ["unary", "streaming"])
async def test_a_request_that_cannot_be_received_ends_the_call(
    error: Any, code: Any, kind: Any
) -> None:
    serving = Serving()
    if kind == "unary":
        serving.unary(echo)
    else:
        serving.streaming(echo_all)
    stream = serving.open().break_requests(error)
    await finished(stream)
    assert stream.status()[0] == code


async def test_a_handler_that_swallows_a_failed_receive_gets_it_again() -> None:
    seen = []

    async def handler(requests: Any, context: Any) -> None:
        for _ in range(2):
            try:
                await context.read()
            except grpc.aio.AbortError as error:
                seen.append(error)

    serving = Serving()
    serving.streaming(handler)
    stream = serving.open().break_requests(TruncatedMessage())
    await finished(stream)
    assert len(seen) == 2
    assert seen[0] is seen[1]
    assert stream.status()[0] == 13


async def test_a_reset_cancels_the_handler_and_nothing_is_sent() -> None:
    outcome = []

    async def handler(request: Any, context: Any) -> None:
        context.add_done_callback(lambda done: outcome.append(done.cancelled()))
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            outcome.append("cancelled")
            raise

    serving = Serving()
    serving.unary(handler)
    stream = serving.open().request(b"").end_requests()
    await settled()
    stream.client_resets()
    await settled()
    assert outcome == ["cancelled", True]
    assert stream.trailers is None


async def test_a_full_queue_holds_the_handler_back() -> None:
    produced = []

    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        for number in range(5):
            produced.append(number)
            yield b"%d" % number

    serving = Serving()
    serving.streaming(handler)
    stream = serving.open(room=2)
    await settled()
    assert produced == [0, 1, 2]
    stream.make_room(10)
    await finished(stream)
    assert stream.sent == [b"0", b"1", b"2", b"3", b"4"]


async def test_a_handler_left_half_way_closes_its_generator() -> None:
    closed = []

    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        try:
            while True:
                yield b"x"
        finally:
            closed.append(True)

    serving = Serving()
    serving.streaming(handler)
    stream = serving.open(room=1)
    await settled()
    stream.client_resets()
    await settled()
    assert closed == [True]


async def test_a_deadline_cancels_the_handler_and_says_so() -> None:
    serving = Serving()
    serving.unary(wait_forever)
    stream = await serving.call(b"", extra=[(b"grpc-timeout", b"1m")])
    assert stream.status() == (4, "Deadline Exceeded")


async def test_a_deadline_holds_even_when_the_handler_swallows_it() -> None:
    async def handler(request: Any, context: Any) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return b"late"

    serving = Serving()
    serving.unary(handler)
    stream = await serving.call(b"", extra=[(b"grpc-timeout", b"1m")])
    assert stream.status() == (4, "Deadline Exceeded")
    assert stream.sent == []


async def test_time_remaining_counts_down_and_is_none_without_deadline() -> None:
    seen = []

    async def handler(request: Any, context: Any) -> Any:
        seen.append(context.time_remaining())
        return b""

    serving = Serving()
    serving.unary(handler)
    await serving.call(b"")
    await serving.call(b"", extra=[(b"grpc-timeout", b"10S")])
    assert seen[0] is None
    assert 0 < seen[1] <= 10


async def test_an_exception_is_unknown_with_its_words(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Any, context: Any) -> None:
        raise KeyError("what")

    serving = Serving()
    serving.unary(handler)
    with caplog.at_level(logging.ERROR):
        stream = await serving.call(b"")
    assert stream.status() == (2, "Unexpected <class 'KeyError'>: 'what'")
    assert stream.sent_headers is None
    assert "/test.Service/Method" in caplog.text


async def test_an_exception_keeps_a_code_set_before(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Any, context: Any) -> None:
        context.set_code(grpc.StatusCode.NOT_FOUND)
        raise KeyError("what")

    serving = Serving()
    serving.unary(handler)
    assert (await serving.call(b"")).status()[0] == 5


async def test_a_foreign_abort_error_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Any, context: Any) -> None:
        raise grpc.aio.AbortError("not by abort()")

    serving = Serving()
    serving.unary(handler)
    assert (await serving.call(b"")).status()[0] == 2


async def test_a_handler_cancelled_by_itself_ends_as_cancelled() -> None:
    async def handler(request: Any, context: Any) -> None:
        raise asyncio.CancelledError

    serving = Serving()
    serving.unary(handler)
    assert (await serving.call(b"")).status()[0] == 1


async def test_an_abort_that_is_swallowed_still_ends_the_call() -> None:
    async def handler(request: Any, context: Any) -> Any:
        try:
            await context.abort(grpc.StatusCode.ABORTED, "no")
        except grpc.aio.AbortError:
            return b"yes"

    serving = Serving()
    serving.unary(handler)
    stream = await serving.call(b"")
    assert stream.status() == (10, "no")
    assert stream.sent == []


async def test_an_abort_as_ok_is_a_bug_of_the_handler(caplog: pytest.LogCaptureFixture) -> None:
    async def handler(request: Any, context: Any) -> None:
        await context.abort(grpc.StatusCode.OK)

    serving = Serving()
    serving.unary(handler)
    assert (await serving.call(b"")).status()[0] == 2


async def test_a_raw_method_receives_a_read_only_view_even_behind_a_wrapping_interceptor() -> None:
    class Wrapping(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            handler = await continuation(details)

            async def wrapped(request: Any, context: Any) -> Any:
                return await handler.unary_unary(request, context)

            return grpc.unary_unary_rpc_method_handler(
                wrapped, handler.request_deserializer, handler.response_serializer
            )

    seen = []

    @raw_request
    async def handler(request: Any, context: Any) -> Any:
        seen.append((type(request), request.readonly, bytes(request)))
        return b""

    for interceptors in ((), (Wrapping(),)):
        serving = Serving(interceptors=interceptors)
        serving.add(
            "Method", grpc.unary_unary_rpc_method_handler(handler, request_deserializer=str)
        )
        await serving.call(b"raw")
    assert seen == [(memoryview, True, b"raw")] * 2


async def test_compressed_requests_are_unpacked() -> None:
    serving = Serving()
    serving.unary(echo)
    stream = serving.open(extra=[(b"grpc-encoding", b"gzip")])
    stream.request(gzip.compress(b"hello"), compressed=True).end_requests()
    await finished(stream)
    assert stream.sent == [b"hello"]


async def test_a_compressed_request_beyond_the_limit_is_resource_exhausted() -> None:
    serving = Serving()
    serving.unary(echo)
    stream = serving.open(extra=[(b"grpc-encoding", b"gzip")])
    stream.request(gzip.compress(bytes(MESSAGE_BYTES_MAX + 1)), compressed=True).end_requests()
    await finished(stream)
    assert stream.status() == (8, "Decompressed message larger than max (1000)")


@pytest.mark.parametrize(
    ("extra", "payload"),
    [([], gzip.compress(b"x")), ([(b"grpc-encoding", b"gzip")], b"not gzip")],
)
async def test_a_compressed_request_that_cannot_be_unpacked_is_internal(
    extra: Any, payload: Any
) -> None:
    serving = Serving()
    serving.unary(echo)
    stream = serving.open(extra=extra).request(payload, compressed=True).end_requests()
    await finished(stream)
    assert stream.status()[0] == 13


async def test_responses_are_compressed_for_a_client_that_takes_it() -> None:
    serving = Serving(compression=grpc.Compression.Gzip)

    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        yield b"one"
        context.disable_next_message_compression()
        yield b"two"
        yield EncodedMessage((b"three",))

    serving.streaming(handler)
    stream = await serving.call(extra=[(b"grpc-accept-encoding", b"identity,gzip")])
    assert (b"grpc-encoding", b"gzip") in stream.sent_headers
    assert stream.sent_compressed == [True, False, False]
    assert gzip.decompress(stream.sent[0]) == b"one"
    assert stream.sent[1:] == [b"two", b"three"]


async def test_responses_stay_plain_for_a_client_that_does_not() -> None:
    serving = Serving(compression=grpc.Compression.Gzip)
    serving.unary(echo)
    stream = await serving.call(b"x")
    assert b"grpc-encoding" not in dict(stream.sent_headers)
    assert stream.sent == [b"x"]


async def test_compression_cannot_change_after_the_headers(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: Any, context: Any) -> None:
        await context.send_initial_metadata((("a", "b"),))
        context.set_compression(grpc.Compression.Gzip)

    serving = Serving()
    serving.unary(handler)
    stream = await serving.call(b"")
    assert stream.status()[0] == 2
    assert (b"a", b"b") in stream.sent_headers


async def test_a_synchronous_stream_handler_is_refused(caplog: pytest.LogCaptureFixture) -> None:
    def handler(requests: Any, context: Any) -> Any:
        return iter(())

    serving = Serving()
    serving.streaming(handler)
    code, details = (await serving.call()).status()
    assert code == 2
    assert "must be asynchronous" in details


async def test_a_method_without_serializer_must_answer_bytes(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def handler(request: Any, context: Any) -> Any:
        return 5

    serving = Serving()
    serving.unary(handler)
    code, details = (await serving.call(b"")).status()
    assert (code, "must answer bytes, not int" in details) == (2, True)
