"""All metadata of a cluster as a stream of bytes, out of one and into another.

Owns the course of the two calls. An export may be tried again until its first bytes came; an
import is made once, because nobody could say what a second one would meet.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import grpc

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.client.admin_log_items import ImportedMetadata
from ottla.client.calls import Caller
from ottla.client.rpc_errors import TransportFailed, error_of, readable
from ottla.protocol.errors import InvalidRequest, OttlaError, OutcomeUnknown

CHUNK_BYTES_MAX = 1 << 20


async def exported(caller: Caller) -> AsyncGenerator[bytes, None]:
    """The chunks of an export. Raises OttlaError, also after some of them."""

    async def begin(channel: grpc.aio.Channel, timeout_seconds: float) -> tuple[Any, Any]:
        stub: Any = admin_pb2_grpc.AdminServiceStub(channel)
        call = stub.ExportMetadata(admin_pb2.ExportMetadataRequest(), timeout=timeout_seconds)
        return call, readable(await call.read())

    call, message = await caller.call(begin)
    try:
        while message is not grpc.aio.EOF:
            yield message.chunk
            message = readable(await call.read())
    except grpc.RpcError as failed:
        raise error_of(failed) from failed
    finally:
        call.cancel()


class MetadataImport:
    """One import: begun, written to, then finished or cancelled. Used by one task."""

    def __init__(self, call: Any) -> None:
        self._call = call

    @classmethod
    async def begin(cls, caller: Caller, *, timeout_seconds: float) -> MetadataImport:
        """Begin at whoever answers. Raises OttlaError: nobody does; nothing was imported."""

        async def greet(channel: grpc.aio.Channel, timeout_seconds: float) -> grpc.aio.Channel:
            stub: Any = admin_pb2_grpc.AdminServiceStub(channel)
            request = admin_pb2.DescribeClusterRequest()
            readable(await stub.DescribeCluster(request, timeout=timeout_seconds))
            return channel

        stub: Any = admin_pb2_grpc.AdminServiceStub(await caller.call(greet))
        return cls(stub.ImportMetadata(timeout=timeout_seconds))

    async def write(self, chunk: bytes) -> None:
        """Send bytes as they were exported, however they are cut. Raises OttlaError."""
        if not isinstance(chunk, bytes | bytearray | memoryview):
            what = type(chunk).__name__
            raise InvalidRequest(f"an import takes several chunks of bytes, as [data]; {what} came")
        for start in range(0, len(chunk), CHUNK_BYTES_MAX):
            part = bytes(chunk[start : start + CHUNK_BYTES_MAX])
            try:
                await self._call.write(admin_pb2.ImportMetadataRequest(chunk=part))
            except (grpc.RpcError, asyncio.InvalidStateError):  # it has ended, and says why
                await self.finish()
                raise InvalidRequest("the import ended before all of it was sent") from None

    async def finish(self) -> ImportedMetadata:
        """Everything was sent; returns what came of it.

        Raises:
            OttlaError: nothing was imported, and why.
            OutcomeUnknown: the answer was lost.
        """
        with suppress(grpc.RpcError, asyncio.InvalidStateError):
            await self._call.done_writing()
        try:
            answer = readable(await self._call)
        except grpc.RpcError as failed:
            raise _import_error(error_of(failed)) from failed
        return ImportedMetadata(answer.record_count)

    def cancel(self) -> None:
        """Give it up; nothing is imported. After its end: nothing."""
        self._call.cancel()


def _import_error(error: OttlaError) -> OttlaError:
    if isinstance(error, TransportFailed):
        return OutcomeUnknown(f"the answer to the import was lost: {error.message}")
    return error
