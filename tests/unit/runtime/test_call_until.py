"""Retries go by reason and end at the deadline."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import grpc
import pytest

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from ottla.protocol.error_details import STATUS_TRAILER, to_status
from ottla.protocol.errors import (
    Draining,
    NotLeader,
    OttlaError,
    OutcomeUnknown,
    StatusCode,
    Throttled,
    TopicExists,
    UnknownReason,
)
from ottla_runtime.channels import Backoff, call_until
from ottla_runtime.rpc_errors import TransportFailed, error_of


def _failed_call(
    code: grpc.StatusCode, details: str = "", trailer: bytes | None = None
) -> grpc.aio.AioRpcError:
    trailing = grpc.aio.Metadata(*(((STATUS_TRAILER, trailer),) if trailer is not None else ()))
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details)


class Calls:
    """A call that fails with each error given, then answers; time moves as it is waited for."""

    def __init__(self, *errors: Exception) -> None:
        self.clock = ManualClock(monotonic_ms=0)
        self.timeouts: list[float] = []
        self.times: list[int] = []
        self._errors = list(errors)

    async def attempt(self, timeout_seconds: float) -> str:
        self.timeouts.append(timeout_seconds)
        self.times.append(self.clock.monotonic_ms())
        if self._errors:
            raise self._errors.pop(0)
        return "answer"

    async def run(
        self,
        deadline_ms: int = 60_000,
        sooner: Callable[[], Coroutine[Any, Any, object]] | None = None,
    ) -> str:
        async with asyncio.TaskGroup() as group:
            call = group.create_task(
                call_until(
                    self.attempt,
                    deadline_ms=deadline_ms,
                    clock=self.clock,
                    entropy=SeededEntropy(1),
                    backoff=Backoff(first_ms=100, longest_ms=1_000),
                    sooner=sooner,
                ),
                name="call",
            )
            await self.clock.advance(deadline_ms)
        return call.result()


async def test_call_is_repeated_while_its_errors_say_so() -> None:
    calls = Calls(Draining("bye"), _failed_call(grpc.StatusCode.UNAVAILABLE, "refused"))
    assert await calls.run() == "answer"
    assert len(calls.times) == 3
    assert 0 < calls.times[1] <= 100
    assert calls.times[1] < calls.times[2] <= calls.times[1] + 200


async def test_final_error_ends_the_call_at_once() -> None:
    calls = Calls(TopicExists("flights exists"))
    with pytest.raises(ExceptionGroup) as caught:
        await calls.run()
    assert isinstance(caught.value.exceptions[0], TopicExists)
    assert len(calls.times) == 1


async def test_last_error_is_raised_once_no_time_is_left() -> None:
    calls = Calls(*(Draining(f"try {number}") for number in range(1_000)))
    with pytest.raises(ExceptionGroup) as caught:
        await calls.run(deadline_ms=2_000)
    assert str(caught.value.exceptions[0]) == f"try {len(calls.times) - 1}"
    assert calls.times[-1] < 2_000


async def test_every_try_gets_the_time_that_is_left() -> None:
    calls = Calls(Draining("bye"))
    await calls.run(deadline_ms=10_000)
    assert calls.timeouts == [10.0, (10_000 - calls.times[1]) / 1_000]


async def test_retry_waits_as_long_as_the_server_asks() -> None:
    calls = Calls(Throttled("slow down", retry_after_ms=5_000))
    await calls.run()
    assert calls.times == [0, 5_000]


async def test_news_end_a_wait_before_its_time() -> None:
    calls, news = Calls(*[NotLeader("moved")] * 5), asyncio.Event()
    news.set()
    assert await calls.run(sooner=news.wait) == "answer"
    assert calls.times == [0] * 6


async def test_without_news_the_wait_is_what_it_was() -> None:
    alone, hoping = Calls(*[Draining("bye")] * 5), Calls(*[Draining("bye")] * 5)
    await alone.run()
    await hoping.run(sooner=asyncio.Event().wait)
    assert hoping.times == alone.times


async def test_news_do_not_hurry_whom_the_server_asks_to_wait() -> None:
    calls, news = Calls(Throttled("slow down", retry_after_ms=5_000)), asyncio.Event()
    news.set()
    await calls.run(sooner=news.wait)
    assert calls.times == [0, 5_000]


def test_error_in_the_details_is_the_error() -> None:
    sent = NotLeader("moved", metadata={"leader_host": "b2", "topic": "flights"})
    got = error_of(_failed_call(grpc.StatusCode.ABORTED, "moved", to_status(sent)))
    assert isinstance(got, NotLeader)
    assert dict(got.metadata) == dict(sent.metadata)


@pytest.mark.parametrize(
    ("code", "kind", "retriable"),
    [
        (grpc.StatusCode.UNAVAILABLE, TransportFailed, True),
        (grpc.StatusCode.CANCELLED, TransportFailed, True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, OutcomeUnknown, True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, UnknownReason, False),
        (grpc.StatusCode.UNIMPLEMENTED, UnknownReason, False),
    ],
)
@pytest.mark.parametrize("trailer", [None, b"\xff\xff"], ids=["no details", "broken details"])
def test_status_without_details_is_judged_by_its_code(
    code: grpc.StatusCode, kind: type[OttlaError], retriable: bool, trailer: bytes | None
) -> None:
    got = error_of(_failed_call(code, "text", trailer))
    assert type(got) is kind
    assert (got.retriable, got.message, got.status) == (retriable, "text", StatusCode[code.name])


def test_backoff_doubles_up_to_its_bound() -> None:
    class Most:
        def token_bytes(self, size: int) -> bytes:
            return bytes(size)

        def random(self) -> float:
            return 0.999_999

    waits = [Backoff(first_ms=100, longest_ms=1_000).wait_ms(count, Most()) for count in (1, 2, 3)]
    assert waits == [99, 199, 399]
    assert Backoff().wait_ms(10_000, Most()) == 4_999
