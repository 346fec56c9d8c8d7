"""Requests as a thin client makes them, and what its answers hold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import grpc

from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import iter_batches
from ottla.protocol.errors import OttlaError
from ottla.protocol.plain_records import plain_records
from ottla_runtime.rpc_errors import error_of

EARLIEST = fetch_pb2.ReadStart(position=fetch_pb2.OFFSET_POSITION_EARLIEST)
TO_THE_END = fetch_pb2.ReadUntil(high_watermark_at_start=fetch_pb2.HighWatermarkAtStart())
BATCHES = fetch_pb2.READ_FORMAT_BATCHES


def publish(topic: str, *values: bytes, **fields: Any) -> produce_pb2.PublishRequest:
    records = [record_pb2.PlainRecord(value=value) for value in values]
    return produce_pb2.PublishRequest(topic=topic, records=records, **fields)


def read(topic: str, **fields: Any) -> fetch_pb2.ReadRequest:
    """From the first record to the end there is now, unless told otherwise."""
    whole: dict[str, Any] = {"topic": topic, "start": EARLIEST, "until": TO_THE_END}
    whole.update(fields)
    return fetch_pb2.ReadRequest(**whole)


def from_offset(offset: int) -> fetch_pb2.ReadStart:
    return fetch_pb2.ReadStart(offset=offset)


def records_of(messages: Sequence[fetch_pb2.ReadResponse]) -> list[record_pb2.PlainRecord]:
    """The records in either format."""
    found: list[record_pb2.PlainRecord] = []
    for message in messages:
        found += message.records
        wire = fetch_pb2.ReadResponse(batches=message.batches).SerializeToString()
        for batch in iter_batches(wire):
            found += plain_records(batch, size_max=1 << 24)
    return found


async def collected(call: Any) -> list[fetch_pb2.ReadResponse]:
    return [message async for message in call]


async def rest_of(call: Any) -> list[fetch_pb2.ReadResponse]:
    """What is left of a call that messages were read of one by one."""
    messages = []
    while (message := await call.read()) is not grpc.aio.EOF:
        messages.append(message)
    return messages


async def failure(awaitable: Any) -> OttlaError:
    """The error that a call fails with."""
    try:
        answer = await awaitable
    except grpc.RpcError as error:
        return error_of(error)
    raise AssertionError(f"the call was answered: {answer}")
