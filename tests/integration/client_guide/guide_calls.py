"""Errors and streams as the client guide describes them: what failed, and who still is there."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from ottla.api.error.v1 import error_pb2

HEARTBEAT_SECONDS = 15.0
SILENT_BEATS_MAX = 3
"""45 s without a word from the broker: the stream is broken."""

TRY_AGAIN = {
    *("UNKNOWN_TOPIC_OR_PARTITION", "NOT_LEADER", "STALE_LEADER_EPOCH", "LEADER_NOT_AVAILABLE"),
    *("NOT_ENOUGH_REPLICAS", "STORAGE_OFFLINE", "STORAGE_FULL", "DRAINING", "THROTTLED"),
    *("TOO_MANY_CONNECTIONS", "ACKS_TIMED_OUT", "OUTCOME_UNKNOWN", "TRANSPORT_FAILED"),
}
_BROKEN = {
    *(grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED),
    *(grpc.StatusCode.INTERNAL, grpc.StatusCode.UNKNOWN),
}
_OPTIONS = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2_000),
    ("grpc.use_local_subchannel_pool", 1),
)


class Failure(NamedTuple):
    """Why a call or an item failed; TRANSPORT_FAILED is this client's own word."""

    reason: str
    metadata: Mapping[str, str]


ENDED = Failure("TRANSPORT_FAILED", {"status": "OK"})
"""The broker ended a stream in good order, which is its right: what is left goes to another."""


class CallFailed(Exception):  # noqa: N818 - reads as what it is
    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.reason)
        self.failure = failure


class Connections:
    """One channel a broker for all calls and streams of a client; gRPC reconnects each."""

    def __init__(self) -> None:
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self._channels.values():
            await channel.close()

    def to(self, address: str) -> grpc.aio.Channel:
        if address not in self._channels:
            made = grpc.aio.insecure_channel(address, options=_OPTIONS)
            self._channels[address] = made
        return self._channels[address]


def failure_of_item(error: error_pb2.Error) -> Failure:
    """What an `Error` inside an answer says."""
    name = f"ERROR_REASON_{error.reason}"
    if error.reason in error_pb2.ErrorReason.values():
        name = error_pb2.ErrorReason.Name(error.reason)
    return Failure(name.removeprefix("ERROR_REASON_"), dict(error.metadata))


def failure_of_stream(error: grpc.aio.AioRpcError) -> Failure:
    """What the status of a stream says: a reason of ours, or that the connection broke."""
    for key, value in error.trailing_metadata() or ():
        info = info_of(value) if key == "grpc-status-details-bin" else None
        if info is not None:
            return Failure(info.reason, dict(info.metadata))
    reason = "TRANSPORT_FAILED" if error.code() in _BROKEN else error.code().name
    return Failure(reason, {})


def info_of(details: Any) -> error_details_pb2.ErrorInfo | None:
    """The ErrorInfo of our domain, if there is one."""
    info = error_details_pb2.ErrorInfo()
    try:
        for detail in status_pb2.Status.FromString(details).details:
            if detail.Is(info.DESCRIPTOR) and detail.Unpack(info) and info.domain == "ottla":
                return info
    except DecodeError:
        return None
    return None


async def next_message(call: Any, heartbeat: Any) -> Any:
    """The next message of a stream, while we show that we are there.

    Raises:
        CallFailed: the stream is over, or nothing was heard for 45 s.
    """
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(read(call), name="guide-read")
        for _ in range(SILENT_BEATS_MAX):
            done, _ = await asyncio.wait({reading}, timeout=HEARTBEAT_SECONDS)
            if done:
                break
            await write(call, heartbeat)
        else:
            call.cancel()
    message = reading.result()
    if isinstance(message, Failure):
        raise CallFailed(message)
    return message


async def read(call: Any) -> Any:
    """A message, or why none comes any more."""
    try:
        message = await call.read()
    except grpc.aio.AioRpcError as error:
        return failure_of_stream(error)
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise  # it is this task that is to end, not the call
        return Failure("TRANSPORT_FAILED", {})
    return ENDED if message is grpc.aio.EOF else message


async def write(call: Any, message: Any) -> None:
    """Say something on a stream; where it is over, its reader hears why, behind what still came."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.write(message)


async def finish(call: Any) -> None:
    """Half-close a stream on which nothing is outstanding, and let the broker end it."""
    with contextlib.suppress(grpc.aio.AioRpcError, asyncio.InvalidStateError):
        await call.done_writing()
    while not isinstance(await read(call), Failure):
        continue  # a sign of life on its way


class Waits:
    """How long to wait before trying again: up to 50 ms, doubling, never more than 2 s."""

    def __init__(self) -> None:
        self._failure_count = 0

    def succeeded(self) -> None:
        self._failure_count = 0

    def next_seconds(self) -> float:
        longest = min(2.0, 0.05 * 2 ** min(self._failure_count, 6))
        self._failure_count += 1
        return random.uniform(0.0, longest)
