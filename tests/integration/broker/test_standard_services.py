"""Health and reflection, asked on the ports of a broker and a controller that run."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2
from integration.walk.processes import Cluster, ServiceProcess, running_cluster

from ottla.internal.broker.v1 import broker_pb2, broker_pb2_grpc

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
REFLECTION = ("grpc.reflection.v1.ServerReflection", "grpc.reflection.v1alpha.ServerReflection")
ADMIN = "ottla.api.admin.v1.AdminService"
BROKER = (
    ADMIN,
    "ottla.api.fetch.v1.FetchService",
    "ottla.api.metadata.v1.MetadataService",
    "ottla.api.produce.v1.ProduceService",
)
CONTROLLER = (ADMIN, "ottla.internal.controller.v1.ControllerService")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path) as running:
        yield running


def channel_to(service: ServiceProcess) -> grpc.aio.Channel:
    return grpc.aio.insecure_channel(f"127.0.0.1:{service.port}")


async def statuses(channel: grpc.aio.Channel, names: Sequence[str]) -> set[int]:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    requests = [health_pb2.HealthCheckRequest(service=name) for name in ("", *names)]
    return {(await stub.Check(request, timeout=10)).status for request in requests}


async def listed(channel: grpc.aio.Channel, reflection: str) -> list[str]:
    call: Any = channel.stream_stream(
        f"/{reflection}/ServerReflectionInfo",
        request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
        response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
    )
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = [each async for each in call(iter([request]), timeout=10)]
    return [service.name for service in answer.list_services_response.service]


async def test_each_service_has_its_health_and_both_reflections_list_it(cluster: Cluster) -> None:
    for service, names in ((cluster.broker, BROKER), (cluster.controller, CONTROLLER)):
        async with channel_to(service) as channel:
            assert await statuses(channel, names) == {SERVING}
            expected = sorted((*names, *REFLECTION, "grpc.health.v1.Health"))
            for reflection in REFLECTION:
                assert await listed(channel, reflection) == expected


async def test_what_only_brokers_call_is_named_nowhere_and_refused_to_others(
    cluster: Cluster,
) -> None:
    async with channel_to(cluster.broker) as channel:
        stub: Any = broker_pb2_grpc.BrokerServiceStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.DeleteReplicaRecords(broker_pb2.DeleteReplicaRecordsRequest(), timeout=10)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert "ottla.internal.broker.v1.BrokerService" not in await listed(channel, REFLECTION[0])


async def test_a_service_that_drains_tells_those_who_watch_its_health(cluster: Cluster) -> None:
    for service in (cluster.broker, cluster.controller):
        async with channel_to(service) as channel:
            stub: Any = health_pb2_grpc.HealthStub(channel)
            watches = [
                stub.Watch(health_pb2.HealthCheckRequest(service=name), timeout=30)
                for name in ("", ADMIN)
            ]
            assert [(await watch.read()).status for watch in watches] == [SERVING] * 2
            assert await service.end(signal.SIGTERM) == 0
            assert [(await watch.read()).status for watch in watches] == [NOT_SERVING] * 2
