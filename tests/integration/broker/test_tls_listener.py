"""A broker's process with a listener on TLS, and a stock client on it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from integration.broker.requests import collected, publish, read, records_of
from integration.walk.processes import Cluster, ServiceProcess, client_of

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.cluster.v1.cluster_pb2 import SECURITY_TLS
from ottla.api.fetch.v1 import fetch_pb2_grpc
from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc
from ottla.api.produce.v1 import produce_pb2_grpc

TLS = Path(__file__).parents[2] / "kit" / "tls"
# Read here: a test runs in the event loop, which must not wait for files.
AUTHORITY = (TLS / "ca.pem").read_bytes()
NOT_THE_AUTHORITY = (TLS / "client.pem").read_bytes()
LISTENERS = ("--listener=public=127.0.0.1:0,tls", "--listener=inside=127.0.0.1:0")


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Cluster]:
    running = Cluster(tmp_path)
    try:
        await running.controller.start()
        await running.start_broker(
            *LISTENERS,
            f"--tls-certificate-path={TLS / 'server.pem'}",
            f"--tls-key-path={TLS / 'server.key'}",
            f"--tls-ca-path={TLS / 'ca.pem'}",
            "--inter-broker-listener=inside",
        )
        yield running
    finally:
        await running.stop()


def channel_to(broker: ServiceProcess, authority: bytes) -> grpc.aio.Channel:
    credentials = grpc.ssl_channel_credentials(root_certificates=authority)
    return grpc.aio.secure_channel(f"127.0.0.1:{broker.port}", credentials)


async def test_records_go_in_and_out_over_tls(cluster: Cluster) -> None:
    async with channel_to(cluster.broker, AUTHORITY) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
        admin: Any = admin_pb2_grpc.AdminServiceStub(channel)
        topics = [admin_pb2.NewTopic(name="letters")]
        await admin.CreateTopics(admin_pb2.CreateTopicsRequest(topics=topics), timeout=20)
        metadata: Any = metadata_pb2_grpc.MetadataServiceStub(channel)
        page = await metadata.GetMetadata(metadata_pb2.GetMetadataRequest(), timeout=20)
        assert [each.endpoint.security for each in page.brokers] == [SECURITY_TLS]
        produce: Any = produce_pb2_grpc.ProduceServiceStub(channel)
        values = [b"secret %d" % number for number in range(100)] + [bytes(900_000)]
        response = await produce.Publish(publish("letters", *values), timeout=20)
        assert [result.offset for result in response.results] == list(range(101))
        fetch: Any = fetch_pb2_grpc.FetchServiceStub(channel)
        for form in (0, 2):
            messages = await collected(fetch.Read(read("letters", format=form), timeout=20))
            assert [record.value for record in records_of(messages)] == values


async def test_a_client_that_trusts_another_authority_is_left_outside(cluster: Cluster) -> None:
    async with channel_to(cluster.broker, NOT_THE_AUTHORITY) as channel:
        health: Any = health_pb2_grpc.HealthStub(channel)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await health.Check(health_pb2.HealthCheckRequest(), timeout=20)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
    assert "certificate" in (caught.value.details() or "").lower()


async def test_a_client_without_tls_is_left_outside(cluster: Cluster) -> None:
    async with client_of(cluster.broker) as client:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await client.metadata.GetMetadata(metadata_pb2.GetMetadataRequest(), timeout=5)
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
