"""The standard services beside one's own: health, and reflection in both versions."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from ottla_runtime.grpc_server import add_health_and_reflection, mark_serving

from .arrangement import Rpc, failure

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
HEALTH = "grpc.health.v1.Health"
V1 = "grpc.reflection.v1.ServerReflection"
V1ALPHA = "grpc.reflection.v1alpha.ServerReflection"


async def test_health_is_checked_and_watched(rpc: Rpc) -> None:
    servicer = add_health_and_reflection(rpc.create().registrar, [])
    await rpc.serve()
    stub = health_pb2_grpc.HealthStub(rpc.channel)
    assert (await stub.Check(health_pb2.HealthCheckRequest())).status == SERVING
    unknown = stub.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert (await failure(unknown)).code() is grpc.StatusCode.NOT_FOUND
    watch = stub.Watch(health_pb2.HealthCheckRequest(service=""))
    assert (await watch.read()).status == SERVING
    await servicer.enter_graceful_shutdown()
    assert (await watch.read()).status == NOT_SERVING
    watch.cancel()


async def test_services_serve_once_they_are_said_to(rpc: Rpc) -> None:
    servicer = add_health_and_reflection(rpc.create().registrar, ["a.v1.A"])
    await mark_serving(servicer, ["a.v1.A"], serving=False)
    await rpc.serve()
    stub = health_pb2_grpc.HealthStub(rpc.channel)
    requests = [health_pb2.HealthCheckRequest(service=name) for name in ("", "a.v1.A")]
    assert [(await stub.Check(each)).status for each in requests] == [NOT_SERVING] * 2
    await mark_serving(servicer, ["a.v1.A"])
    assert [(await stub.Check(each)).status for each in requests] == [SERVING] * 2


def reflected(rpc: Rpc, service: Any) -> Any:
    return rpc.channel.stream_stream(
        f"/{service}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )


async def asked(rpc: Rpc, service: Any, **question: Any) -> Any:
    request = reflection_pb2.ServerReflectionRequest(**question)
    call = reflected(rpc, service)(iter([request]))
    (answer,) = [item async for item in call]
    assert answer.original_request == request
    return answer


@pytest.mark.parametrize("service", [V1, V1ALPHA])
async def test_reflection_lists_and_describes(rpc: Rpc, service: Any) -> None:
    add_health_and_reflection(rpc.create().registrar, [])
    await rpc.serve()
    listed = await asked(rpc, service, list_services="")
    names = [item.name for item in listed.list_services_response.service]
    assert names == [HEALTH, V1, V1ALPHA]
    for name in names:
        described = await asked(rpc, service, file_containing_symbol=name)
        files = [
            descriptor_pb2.FileDescriptorProto.FromString(data)
            for data in described.file_descriptor_response.file_descriptor_proto
        ]
        services = {f"{file.package}.{item.name}" for file in files for item in file.service}
        assert services == {name}
    missing = await asked(rpc, service, file_containing_symbol="no.such.Thing")
    assert missing.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
    by_name = await asked(rpc, service, file_by_filename="grpc/reflection/v1/reflection.proto")
    assert len(by_name.file_descriptor_response.file_descriptor_proto) == 1
