"""Produce streams as any stub may speak them: order, refusal, resumption, and what is refused."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.broker.running_broker import RunningBroker
from integration.client.arrangement import channel_to, stored
from integration.client.streaming_broker import SESSIONS, cluster

import ottla.testing
from ottla.api.error.v1 import error_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.client.consumer import Consumer
from ottla.client.produce_messages import PRODUCE_METHOD
from ottla.protocol.compression import Codec
from ottla.protocol.error_details import from_proto
from ottla.protocol.records import encode_record_batch
from ottla_runtime.rpc_errors import error_of

Response = produce_pb2.ProduceResponse


async def _read(call: Any) -> Any:
    try:
        return await call.read()
    except grpc.RpcError as failed:
        raise error_of(failed) from failed


class Stream:
    """One Produce stream of a client that does as the test says."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._call: Any = channel.stream_stream(
            PRODUCE_METHOD, response_deserializer=Response.FromString
        )()
        self._number = 0

    async def raw(self, request: bytes) -> None:
        await self._call.write(request)

    async def send(
        self, value: bytes, *, damaged: bool = False, frames: bytes = b"", **fields: Any
    ) -> int:
        """Send one batch of one record; returns its correlation id."""
        self._number += 1
        frame = frames or bytes(encode_record_batch([(None, value, 1_700_000_000_000, ())]))
        if damaged:
            frame = frame[:-1] + bytes([frame[-1] ^ 1])
        given: dict[str, Any] = {"topic": "single", "correlation_id": self._number} | fields
        request = produce_pb2.ProduceRequest(**given)
        await self.raw(frame + request.SerializeToString())
        return self._number

    async def answer(self) -> produce_pb2.ProduceResponse:
        response = await _read(self._call)
        if response is grpc.aio.EOF:
            raise AssertionError("the call ended with OK")
        assert isinstance(response, Response)
        return response

    async def outcomes(self, count: int) -> dict[int, int | str]:
        """By correlation id: the base offset, or the reason."""
        found: dict[int, int | str] = {}
        while len(found) < count:
            response = await self.answer()
            if response.heartbeat:
                continue
            failed = response.HasField("error")
            found[response.correlation_id] = (
                from_proto(response.error).reason if failed else response.base_offset
            )
        return found

    async def end(self) -> grpc.StatusCode:
        await self._call.done_writing()
        assert await self._call.read() is grpc.aio.EOF
        code: grpc.StatusCode = await self._call.code()
        return code


@dataclass
class Arranged:
    """A cluster with a topic, and a channel to it."""

    bootstrap: str
    channel: grpc.aio.Channel


@asynccontextmanager
async def arranged(**configs: str) -> AsyncIterator[tuple[Arranged, Stream]]:
    names = {name.replace("_", "."): value for name, value in configs.items()}
    async with (
        ottla.testing.cluster() as cluster,
        channel_to(cluster.bootstrap) as channel,
    ):
        await cluster.create_topic("single", configs=names)
        yield Arranged(cluster.bootstrap, channel), Stream(channel)


@asynccontextmanager
async def with_levers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[RunningBroker, Stream]]:
    """A broker whose sessions a test can drain, and a topic that nobody leads."""
    async with cluster(tmp_path, monkeypatch) as broker:
        broker.controller.create_topic("single")
        broker.controller.create_topic("elsewhere", leader_id=None)
        async with Consumer(f"127.0.0.1:{broker.port}") as follower:
            await follower.assign(["single", "elsewhere"])  # returns once they are visible
        yield broker, Stream(broker.channel)


async def test_batches_in_flight_are_appended_as_they_came() -> None:
    async with arranged() as (place, stream):
        for number in range(50):
            await stream.send(b"%d" % number)
        assert await stream.outcomes(50) == {number + 1: number for number in range(50)}
        assert await stored(place.bootstrap, "single") == [b"%d" % number for number in range(50)]
        assert await stream.end() is grpc.StatusCode.OK


async def test_order_holds_while_batches_are_recompressed_beside_the_loop() -> None:
    async with arranged(compression_type="zstd") as (place, stream):
        zipped = bytes(
            encode_record_batch([(None, b"last", 1_700_000_000_000, ())], codec=Codec.ZSTD)
        )
        for number in range(20):
            size = 200_000 if number % 2 == 0 else 1
            await stream.send(b"%02d" % number + b"x" * size)
        await stream.send(b"", frames=zipped)  # needs no work, and still may not overtake
        assert await stream.outcomes(21) == {number + 1: number for number in range(21)}
        values = await stored(place.bootstrap, "single")
        assert [value[:2] for value in values] == [b"%02d" % n for n in range(20)] + [b"la"]


async def test_what_comes_behind_a_failure_is_refused_until_it_resumes() -> None:
    async with arranged() as (place, stream):
        await stream.send(b"a")
        await stream.send(b"b", damaged=True)
        await stream.send(b"c")
        corrupt = "CORRUPT_BATCH"
        assert await stream.outcomes(3) == {1: 0, 2: corrupt, 3: corrupt}
        await stream.send(b"d")
        assert await stream.outcomes(1) == {4: corrupt}
        await stream.send(b"b", resume_partition=True)
        await stream.send(b"c")
        assert await stream.outcomes(2) == {5: 1, 6: 2}
        assert await stored(place.bootstrap, "single") == [b"a", b"b", b"c"]


async def test_a_failure_on_one_stream_or_partition_is_none_on_another() -> None:
    async with arranged() as (place, stream):
        await stream.send(b"a", damaged=True)
        await stream.send(b"x", partition=7)
        assert set((await stream.outcomes(2)).values()) == {
            "CORRUPT_BATCH",
            "UNKNOWN_TOPIC_OR_PARTITION",
        }
        other = Stream(place.channel)
        await other.send(b"b")
        assert await other.outcomes(1) == {1: 0}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"topic": "missing"}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"topic": "bad/name"}, "INVALID_TOPIC"),
        ({"topic_id": b"x" * 16}, "UNKNOWN_TOPIC_OR_PARTITION"),
        ({"topic_id": b"short"}, "INVALID_REQUEST"),
        ({"leader_epoch": 99}, "STALE_LEADER_EPOCH"),
        ({"expected_next_offset": 0}, "UNSUPPORTED_VERSION"),
        ({"timeout_ms": 600_001}, "INVALID_REQUEST"),
        ({"frames": b"\x0a\x02ab"}, "CORRUPT_BATCH"),
    ],
)
async def test_a_request_that_cannot_be_served_is_answered_with_its_reason(
    fields: dict[str, Any], reason: str
) -> None:
    async with arranged() as (place, stream):
        await check_refused(stream, fields, reason)
        other = Stream(place.channel)
        await other.send(b"fine")
        assert await other.outcomes(1) == {1: 0}


async def test_a_partition_without_a_leader_is_answered_with_that_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_levers(tmp_path, monkeypatch) as (broker, stream):
        await check_refused(stream, {"topic": "elsewhere"}, "LEADER_NOT_AVAILABLE")
        other = Stream(broker.channel)
        await other.send(b"fine")
        assert await other.outcomes(1) == {1: 0}


async def check_refused(stream: Stream, fields: dict[str, Any], reason: str) -> None:
    """The stream answers a batch with these fields with the reason, and says about what."""
    await stream.send(b"v", **fields)
    response = await stream.answer()
    assert from_proto(response.error).reason == reason
    assert response.error.metadata["topic"] == fields.get("topic", "single")
    assert response.error.metadata["partition"] == "0"


async def test_without_acks_the_answer_says_only_that_it_was_taken() -> None:
    async with arranged() as (_, stream):
        await stream.send(b"v", acks=produce_pb2.ACKS_NONE)
        response = await stream.answer()
        assert not response.HasField("base_offset")
        assert response.error.reason == error_pb2.ERROR_REASON_UNSPECIFIED


async def test_several_batches_of_a_request_stand_or_fall_together() -> None:
    one, two = (
        bytes(encode_record_batch([(None, v, 1_700_000_000_000, ())])) for v in (b"1", b"2")
    )
    async with arranged() as (place, stream):
        await stream.send(b"", frames=one + two[:-1] + b"\xff")
        assert await stream.outcomes(1) == {1: "CORRUPT_BATCH"}
        await stream.send(b"", frames=one + two, resume_partition=True)
        assert await stream.outcomes(1) == {2: 0}
        assert await stored(place.bootstrap, "single") == [b"1", b"2"]


async def test_what_is_no_request_ends_the_stream_and_no_other() -> None:
    async with arranged() as (place, stream):
        await stream.raw(b"\x0a\xff\xff")
        with pytest.raises(Exception, match="cannot be parsed") as caught:
            await stream.answer()
        assert getattr(caught.value, "reason", "") == "INVALID_REQUEST"
        other = Stream(place.channel)
        await other.send(b"fine")
        assert await other.outcomes(1) == {1: 0}


async def test_an_idle_stream_gives_signs_of_life_and_takes_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_levers(tmp_path, monkeypatch) as (_, stream):
        await stream.raw(produce_pb2.ProduceRequest(heartbeat=True).SerializeToString())
        assert (await stream.answer()).heartbeat
        await stream.send(b"v")
        while (response := await stream.answer()).heartbeat:
            continue
        assert response.base_offset == 0


async def test_a_draining_broker_answers_what_it_took_and_ends_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with with_levers(tmp_path, monkeypatch) as (_, stream):
        await stream.send(b"v")
        assert await stream.outcomes(1) == {1: 0}
        for sessions in SESSIONS:
            sessions.drain()
        with pytest.raises(Exception, match="shutting down") as caught:
            await stream.answer()
        assert getattr(caught.value, "reason", "") == "DRAINING"
