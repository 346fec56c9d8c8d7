"""Which broker is called, how often, and when a client gives up."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator

import grpc
import pytest

from kit.clock import ManualClock
from kit.no_channel import channels_to
from ottla.client.calls import Caller, Patience
from ottla.client.channel_set import ChannelSet
from ottla.client.core.addresses import Address
from ottla.client.rpc_errors import TransportFailed, Unreachable, error_of
from ottla.protocol.error_details import STATUS_TRAILER, to_status
from ottla.protocol.errors import (
    Draining,
    NotLeader,
    OttlaError,
    Throttled,
    TopicExists,
    UnknownTopicOrPartition,
)

PATIENCE = Patience(
    call_ms=30_000,
    first_contact_ms=3_000,
    unknown_topic_ms=2_000,
    backoff_first_ms=100,
    backoff_longest_ms=1_000,
)
REFUSED = (
    "failed to connect to all addresses; last error: UNKNOWN: ipv4:10.0.0.1:1: Failed to connect"
    " to remote host: Connection refused"
)


def _refused(code: grpc.StatusCode = grpc.StatusCode.UNAVAILABLE) -> grpc.aio.AioRpcError:
    return grpc.aio.AioRpcError(code, grpc.aio.Metadata(), grpc.aio.Metadata(), details=REFUSED)


class Cluster:
    """Brokers that answer a call with each thing given, in turn, whichever is called."""

    def __init__(self, channels: ChannelSet, clock: ManualClock) -> None:
        self.clock = clock
        self.answers: list[Exception | str] = []
        self.last: Exception | None = None
        self.times: list[int] = []
        self.timeouts: list[float] = []
        self.called: list[grpc.aio.Channel] = []
        self.caller = Caller(channels, patience=PATIENCE, clock=clock, chance=random.Random(1))

    async def attempt(self, channel: grpc.aio.Channel, timeout_seconds: float) -> str:
        self.called.append(channel)
        self.times.append(self.clock.monotonic_ms())
        self.timeouts.append(timeout_seconds)
        answer = self.answers.pop(0) if self.answers else self.last
        if isinstance(answer, Exception):
            raise answer
        assert answer is not None
        return answer

    async def call(self) -> str:
        outcome: list[str | OttlaError] = []

        async def run() -> None:
            try:
                outcome.append(await self.caller.call(self.attempt))
            except OttlaError as error:
                outcome.append(error)

        async with asyncio.TaskGroup() as group:
            group.create_task(run(), name="call")
            await self.clock.advance(100_000)
        (result,) = outcome
        if isinstance(result, OttlaError):
            raise result
        return result


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    async with channels_to(Address("10.0.0.1", 1), Address("10.0.0.2", 2)) as channels:
        yield Cluster(channels, ManualClock(monotonic_ms=0))


async def test_broker_that_refuses_is_left_for_the_next_without_waiting(cluster: Cluster) -> None:
    cluster.answers = [_refused(), "answer"]
    assert await cluster.call() == "answer"
    assert cluster.times == [0, 0]
    assert cluster.called[0] is not cluster.called[1]


async def test_after_every_broker_refused_it_waits_and_goes_round_again(cluster: Cluster) -> None:
    cluster.answers = [_refused(), _refused(), "answer"]
    assert await cluster.call() == "answer"
    assert cluster.times[:2] == [0, 0]
    assert 0 < cluster.times[2] <= 100
    assert cluster.called[2] is cluster.called[0]


async def test_cluster_that_never_answered_is_given_up_early(cluster: Cluster) -> None:
    cluster.last = _refused()
    with pytest.raises(Unreachable) as caught:
        await cluster.call()
    assert str(caught.value) == ("no broker answers at 10.0.0.1:1, 10.0.0.2:2: Connection refused")
    assert cluster.times[-1] < 3_000


async def test_cluster_that_answered_before_is_waited_for(cluster: Cluster) -> None:
    cluster.answers = ["answer"]
    await cluster.call()
    cluster.last = _refused()
    with pytest.raises(TransportFailed) as caught:
        await cluster.call()
    assert not isinstance(caught.value, Unreachable)
    assert cluster.times[-1] - cluster.times[1] > 25_000


async def test_topic_that_stays_unknown_is_given_up_soon(cluster: Cluster) -> None:
    cluster.last = UnknownTopicOrPartition("no topic x")
    with pytest.raises(UnknownTopicOrPartition):
        await cluster.call()
    assert len(cluster.times) > 2
    assert cluster.times[-1] < 2_000


async def test_final_error_is_raised_at_once(cluster: Cluster) -> None:
    cluster.answers = [TopicExists("x exists")]
    with pytest.raises(TopicExists):
        await cluster.call()
    assert len(cluster.times) == 1


async def test_drained_broker_is_asked_again_until_time_is_over(cluster: Cluster) -> None:
    cluster.last = Draining("bye")
    with pytest.raises(Draining):
        await cluster.call()
    assert 28_000 < cluster.times[-1] < 30_000
    assert cluster.timeouts[0] == 30.0
    assert cluster.timeouts[-1] == (30_000 - cluster.times[-1]) / 1_000


async def test_wait_is_as_long_as_the_server_asks(cluster: Cluster) -> None:
    cluster.answers = [Throttled("slow down", retry_after_ms=4_000), "answer"]
    await cluster.call()
    assert cluster.times == [0, 4_000]


def test_error_in_the_details_is_the_error() -> None:
    sent = NotLeader("moved", metadata={"leader_id": 2})
    trailing = grpc.aio.Metadata((STATUS_TRAILER, to_status(sent)))
    failed = grpc.aio.AioRpcError(grpc.StatusCode.ABORTED, grpc.aio.Metadata(), trailing)
    got = error_of(failed)
    assert isinstance(got, NotLeader)
    assert got.metadata["leader_id"] == "2"


@pytest.mark.parametrize(
    ("code", "reason", "retriable"),
    [
        (grpc.StatusCode.UNAVAILABLE, "TRANSPORT_FAILED", True),
        (grpc.StatusCode.CANCELLED, "TRANSPORT_FAILED", True),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "OUTCOME_UNKNOWN", True),
        (grpc.StatusCode.RESOURCE_EXHAUSTED, "RESOURCE_EXHAUSTED", False),
        (grpc.StatusCode.UNKNOWN, "UNKNOWN", False),
    ],
)
def test_status_without_details_is_judged_by_its_code(
    code: grpc.StatusCode, reason: str, retriable: bool
) -> None:
    got = error_of(_refused(code))
    assert (got.reason, got.retriable) == (reason, retriable)
