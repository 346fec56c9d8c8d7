"""What `ottla cluster` does: DescribeCluster, and its answer on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

import grpc

from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.cluster.v1 import cluster_pb2
from ottla.client.admin_items import word
from ottla.client.bootstrap import Address
from ottla.client.calls import Caller
from ottla_cli.terminal import Output, print_json, print_table


async def described(caller: Caller) -> admin_pb2.DescribeClusterResponse:
    """The cluster, as whoever is asked knows it. Raises OttlaError."""

    async def attempt(
        channel: grpc.aio.Channel, timeout_seconds: float
    ) -> admin_pb2.DescribeClusterResponse:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        request = admin_pb2.DescribeClusterRequest()
        return await stub.DescribeCluster(request, timeout=timeout_seconds)

    return await caller.call(attempt)


async def describe(caller: Caller, *, output: Output) -> None:
    """Print the cluster."""
    cluster = await described(caller)
    if output is Output.JSON:
        print_json(_document(cluster))
        return
    title = (
        f"Cluster {cluster.cluster_id}  (topics: {cluster.topic_count},"
        f" partitions: {cluster.partition_count}, metadata in {cluster.metadata_store})"
    )
    print_table(
        ["#broker", "state", "endpoints", "rack", "#leads", "#replicas", "version"],
        [
            (
                each.node_id,
                _state(each),
                _addresses(each.endpoints),
                each.rack or "–",
                each.leader_count,
                each.replica_count,
                each.server_version or "–",
            )
            for each in cluster.brokers
        ],
        title=title,
    )
    sys.stdout.write("\n")
    print_table(
        ["#controller", "state", "endpoints"],
        [
            (each.node_id, "active" if each.active else "standby", _addresses(each.endpoints))
            for each in cluster.controllers
        ],
    )


def _document(cluster: admin_pb2.DescribeClusterResponse) -> dict[str, Any]:
    return {
        "cluster_id": cluster.cluster_id,
        "metadata_version": {
            "generation": cluster.metadata_version.generation,
            "revision": cluster.metadata_version.revision,
        },
        "metadata_store": cluster.metadata_store,
        "feature_level": cluster.feature_level,
        "topic_count": cluster.topic_count,
        "partition_count": cluster.partition_count,
        "controller_epoch": cluster.controller_epoch,
        "brokers": [
            {
                "node_id": each.node_id,
                "state": _state(each),
                "endpoints": _endpoints(each.endpoints),
                "rack": each.rack,
                "broker_epoch": each.broker_epoch,
                "server_version": each.server_version,
                "leader_count": each.leader_count,
                "replica_count": each.replica_count,
            }
            for each in cluster.brokers
        ],
        "controllers": [
            {
                "node_id": each.node_id,
                "active": each.active,
                "endpoints": _endpoints(each.endpoints),
            }
            for each in cluster.controllers
        ],
    }


def _state(broker: admin_pb2.BrokerDescription) -> str:
    return word(admin_pb2.BrokerState, broker.state, "BROKER_STATE_")


def _endpoints(endpoints: Iterable[cluster_pb2.Endpoint]) -> list[dict[str, object]]:
    return [
        {
            "listener": each.listener,
            "host": each.host,
            "port": each.port,
            "security": word(cluster_pb2.Security, each.security, "SECURITY_"),
        }
        for each in endpoints
    ]


def _addresses(endpoints: Iterable[cluster_pb2.Endpoint]) -> str:
    return " ".join(f"{each.listener}={Address(each.host, each.port)}" for each in endpoints)
