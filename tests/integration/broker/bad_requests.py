"""Requests that nobody can parse, sent to every method that a port offers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterable, Sequence
from typing import Any

import grpc
from google.protobuf import descriptor_pool
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from ottla.api.admin.v1 import admin_pb2
from ottla.api.fetch.v1 import fetch_pb2
from ottla.api.metadata.v1 import metadata_pb2
from ottla.api.produce.v1 import produce_pb2
from ottla.internal.controller.v1 import controller_pb2
from ottla.protocol.errors import OttlaError
from ottla_runtime.rpc_errors import error_of

_FILES = (
    admin_pb2, fetch_pb2, metadata_pb2, produce_pb2, controller_pb2, health_pb2,
    reflection_pb2,
)  # fmt: skip
REFLECTION_V1 = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
BROKER_SERVICES = (
    "ottla.api.admin.v1.AdminService",
    "ottla.api.fetch.v1.FetchService",
    "ottla.api.metadata.v1.MetadataService",
    "ottla.api.produce.v1.ProduceService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
)
CONTROLLER_SERVICES = (
    "ottla.api.admin.v1.AdminService",
    "ottla.internal.controller.v1.ControllerService",
    "grpc.health.v1.Health",
    "grpc.reflection.v1alpha.ServerReflection",
)


def methods(services: Iterable[str]) -> list[str]:
    """Every method of the services, and reflection's as it is called today."""
    pool = descriptor_pool.Default()
    assert all(file.DESCRIPTOR for file in _FILES)
    found = [
        f"/{name}/{method.name}"
        for name in services
        for method in pool.FindServiceByName(name).methods
    ]
    return [*found, REFLECTION_V1]


async def answers_to(
    channel: grpc.aio.Channel, payload: bytes, services: Sequence[str]
) -> dict[str, tuple[str, str]]:
    """By method: the status and the reason of the answer to a payload."""
    found = {}
    for method in methods(services):
        error = await answer_to(channel, method, payload)
        found[method] = (error.status.name, error.reason)
    return found


async def answer_to(channel: grpc.aio.Channel, method: str, payload: bytes) -> OttlaError:
    """What a method answers to a payload, whatever kind of call it is: frames are the same."""
    call: Any = channel.stream_stream(method)(timeout=20)
    try:
        with contextlib.suppress(asyncio.InvalidStateError):  # it may be refused before it is sent
            await call.write(payload)
            await call.done_writing()
        answer = await call.read()
    except grpc.RpcError as error:
        return error_of(error)
    raise AssertionError(f"{method} answered {answer!r}")
