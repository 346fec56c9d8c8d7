"""The vectors of a Produce stream's lanes: a real broker answers as they say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest
from integration.client.arrangement import channel_to, stored
from integration.client_guide.guide_batches import GuideRecord, encoded_batch, in_request
from integration.client_guide.guide_calls import failure_of_item, finish

import ottla.testing
from ottla.api.produce.v1 import produce_pb2, produce_pb2_grpc

TRACES: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "lanes.json").read_text(encoding="utf-8")
)["traces"]
NOON_MS = 1_357_041_600_000


def request_of(step: dict[str, Any]) -> produce_pb2.ProduceRequest:
    """A batch whose record is the request's number; damage is in its last byte."""
    number = step["send"]
    batch = encoded_batch([GuideRecord(None, b"%d" % number, NOON_MS)])
    if step.get("damaged"):
        batch = batch[:-1] + b"?"
    request = produce_pb2.ProduceRequest.FromString(in_request(batch))
    fields = produce_pb2.ProduceRequest(
        correlation_id=number,
        topic="flights",
        partition=step["partition"],
        timeout_ms=step.get("timeout_ms", 0),
        resume_partition=step.get("resume", False),
    )
    request.MergeFrom(fields)
    return request


async def answers_of(call: Any, count: int) -> dict[str, str]:
    """What became of the next requests, by number."""
    found: dict[str, str] = {}
    while len(found) < count:
        answer = await call.read()
        assert answer is not grpc.aio.EOF
        failed = answer.HasField("error")
        outcome = failure_of_item(answer.error).reason if failed else "appended"
        found[str(answer.correlation_id)] = outcome
    return found


@pytest.mark.slow
@pytest.mark.parametrize("trace", TRACES, ids=[trace["name"] for trace in TRACES])
async def test_a_broker_answers_and_appends_as_the_trace_says(trace: dict[str, Any]) -> None:
    async with (
        ottla.testing.cluster(topics={"flights": 2}) as cluster,
        channel_to(cluster.bootstrap) as channel,
    ):
        stub: Any = produce_pb2_grpc.ProduceServiceStub(channel)
        call = stub.Produce()
        for step in trace["steps"]:
            if "send" in step:
                await call.write(request_of(step))
            else:
                assert await answers_of(call, len(step["collect"])) == step["collect"]
        await finish(call)
        for partition, numbers in trace["stored"].items():
            values = await stored(cluster.bootstrap, "flights", int(partition))
            assert values == [b"%d" % number for number in numbers]
