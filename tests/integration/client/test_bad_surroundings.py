"""Bootstraps that answer garbage, brokers that vanish amid a batch, clocks that jump."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest
from integration.client.arrangement import two_topics
from integration.client.cutting_proxy import cutting_proxy

from ottla.client.admin import Admin
from ottla.client.consumer import Consumer
from ottla.client.producer import Producer
from ottla.client.rpc_errors import Unreachable
from ottla.protocol.errors import OttlaError, UnknownReason

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HTTP1 = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def saying(data: bytes) -> Answer:
    """Whoever connects is told this, and nothing else."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await reader.read(1 << 16)
        writer.close()

    return answer


async def hanging_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[str]:
    """The address of a server that is no broker."""
    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"


ANSWERS = {
    "random bytes": saying(random.Random(5).randbytes(4_096)),
    "HTTP/1": saying(HTTP1),
    "a greeting": saying(b"220 mail.example ESMTP\r\n"),
    "zeros": saying(bytes(1_000)),
    "nothing": hanging_up,
}


@pytest.mark.slow
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_bootstrap_that_is_no_broker_is_given_up_by_name(answer: Answer) -> None:
    async with (
        listening(answer) as address,
        Producer(address) as producer,
        Consumer(address) as consumer,
        Admin(address) as admin,
    ):

        async def send() -> object:
            return await producer.send("flights", b"v")

        uses = (send(), consumer.assign(["flights"]), admin.list_topics())
        for error in await asyncio.gather(*uses, return_exceptions=True):
            assert isinstance(error, Unreachable), error
            assert address in error.message


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_broker_among_those_addresses_is_found(answer: Answer) -> None:
    async with (
        two_topics() as cluster,
        listening(answer) as address,
        Producer(f"{address},{cluster.bootstrap}") as producer,
    ):
        receipts = [await (await producer.send("single", b"v")) for _ in range(3)]
        assert [receipt.offset for receipt in receipts] == [0, 1, 2]


@asynccontextmanager
async def foreign_service(answer: bytes | None) -> AsyncIterator[str]:
    """A gRPC server that answers every unary call with these bytes, or that it has no such call."""

    class Handler(grpc.GenericRpcHandler):
        def service(self, handler_call_details: object) -> grpc.RpcMethodHandler[Any, Any] | None:
            return None if answer is None else grpc.unary_unary_rpc_method_handler(reply)

    async def reply(request: bytes, context: object) -> bytes | None:
        return answer

    server = grpc.aio.server()
    server.add_generic_rpc_handlers((Handler(),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(None)


@pytest.mark.parametrize(
    ("answer", "status"), [(b"\xff\xff\xff garbage", "INTERNAL"), (None, "UNIMPLEMENTED")]
)
async def test_a_service_that_is_not_ours_is_told_of_at_once(
    answer: bytes | None, status: str
) -> None:
    async with (
        foreign_service(answer) as address,
        Producer(address) as producer,
        Consumer(address) as consumer,
        Admin(address) as admin,
    ):

        async def send() -> object:
            return await producer.send("flights", b"v")

        places = consumer.end_offsets([("flights", 0)])
        uses = (send(), consumer.assign(["flights"]), places, admin.list_topics())
        for error in await asyncio.gather(*uses, return_exceptions=True):
            assert isinstance(error, UnknownReason), error
            assert error.status.name == status


async def test_a_broker_that_vanishes_amid_batches_costs_a_consumer_no_record() -> None:
    values = [b"%05d" % number + b"x" * 500 for number in range(20_000)]
    async with (
        cutting_proxy() as proxy,
        two_topics(advertised=f"public=127.0.0.1:{proxy.port}") as cluster,
    ):
        proxy.target_port = cluster.broker.port
        async with Producer(cluster.bootstrap) as producer:
            _ = await producer.send_many("single", values)
        proxy.cut_at = [proxy.passed_size + 1_200_003 * number for number in range(1, 8)]
        async with Consumer(
            f"127.0.0.1:{proxy.port}", auto_offset_reset="earliest", fetch_buffer_bytes=1 << 20
        ) as consumer:
            await consumer.assign(["single"])
            records = [await anext(consumer) for _ in values]
        assert proxy.cut_at == []
        assert [record.offset for record in records] == list(range(20_000))
        assert [record.value for record in records] == values


class JumpingClock:
    """The time of day as somebody keeps setting it, the broker's too: as far as brokers allow."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.given_ms: list[int] = []
        self._time_ns = time.time_ns
        self._chance = random.Random(2)
        monkeypatch.setattr(time, "time_ns", self.time_ns)

    def time_ns(self) -> int:
        jump_ns = self._chance.randrange(-1_700, 1_700) * 10**9
        now_ns = self._time_ns() + jump_ns
        self.given_ms.append(now_ns // 10**6)
        return now_ns


async def test_a_time_of_day_that_jumps_moves_timestamps_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    errors: list[OttlaError] = []
    async with two_topics() as cluster:
        async with (
            Producer(cluster.bootstrap, delivery_timeout_ms=20_000, on_error=errors.append) as it,
            Consumer(cluster.bootstrap, auto_offset_reset="earliest") as consumer,
        ):
            await consumer.assign(["single"])
            clock = JumpingClock(monkeypatch)
            receipts = [await (await it.send("single", b"%d" % each)) for each in range(50)]
            receipts += await (await it.send_many("single", [b"many"] * 50))
            records = [await anext(consumer) for _ in receipts]
        assert errors == []
        assert [receipt.offset for receipt in receipts] == list(range(100))
        assert [record.timestamp_ms for record in records] == [
            receipt.timestamp_ms for receipt in receipts
        ]
        assert {record.timestamp_ms for record in records} <= set(clock.given_ms)
        assert len({record.timestamp_ms for record in records}) > 40
