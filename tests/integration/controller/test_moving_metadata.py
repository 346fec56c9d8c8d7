"""Metadata on its way from one controller to another, when a process dies."""

from __future__ import annotations

import signal
from pathlib import Path

import grpc
import pytest

from ottla.api.admin.v1 import admin_pb2

from .controller_process import WAIT_SECONDS, Calls, ControllerProcess, calls_to, running


def exported(calls: Calls) -> list[admin_pb2.ImportMetadataRequest]:
    """All metadata, as it is sent to be imported."""
    stream = calls.admin.ExportMetadata(admin_pb2.ExportMetadataRequest(), timeout=WAIT_SECONDS)
    return [admin_pb2.ImportMetadataRequest(chunk=message.chunk) for message in stream]


def shown(calls: Calls) -> int | None:
    """Number of partitions that operators see; None while that is not decided."""
    try:
        return int(
            calls.admin.DescribeCluster(
                admin_pb2.DescribeClusterRequest(), timeout=1
            ).partition_count
        )
    except grpc.RpcError:
        return None


@pytest.mark.slow
def test_a_controller_killed_in_the_middle_of_an_import_comes_back_without_it(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "source") as calls:
        calls.start_broker()
        for name in "abcd":
            topic = admin_pb2.NewTopic(name=name, partition_count=5_000)
            calls.admin.CreateTopics(
                admin_pb2.CreateTopicsRequest(topics=[topic]), timeout=WAIT_SECONDS
            )
        requests = exported(calls)
    target = ControllerProcess(tmp_path / "target")
    with calls_to(target.ready()["port"]) as calls:
        importing = calls.admin.ImportMetadata.future(iter(requests), timeout=WAIT_SECONDS)
        while shown(calls) is not None:
            assert not importing.done(), "it takes a hundred transactions and more"
    target.end(signal.SIGKILL)
    assert importing.exception(WAIT_SECONDS) is not None
    with running(tmp_path / "target") as calls:
        while (count := shown(calls)) is None:
            continue
        assert count == 0
        imported = calls.admin.ImportMetadata(iter(requests), timeout=WAIT_SECONDS)
        assert imported.record_count == 1 + 1 + 4 + 20_000
        assert shown(calls) == 20_000
