"""The controller as its users meet it: a process, over gRPC, through stock generated stubs."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path

import grpc
import pytest

from ottla.api.admin.v1 import admin_pb2
from ottla.api.admin.v1.admin_pb2 import (
    CreateTopicsRequest,
    DeleteTopicsRequest,
    DescribeClusterRequest,
    DescribeTopicsRequest,
    ListTopicsRequest,
    NewTopic,
    TopicRef,
)
from ottla.api.cluster.v1.cluster_pb2 import MetadataVersion
from ottla.api.error.v1.error_pb2 import ErrorReason
from ottla.internal.controller.v1.controller_pb2 import (
    AlterPartitionsRequest,
    AssignDirectoriesRequest,
    DirectoryAssignment,
    HeartbeatRequest,
    IsrMember,
    PartitionChange,
)
from ottla.protocol.error_details import STATUS_TRAILER, from_status
from ottla.protocol.errors import OttlaError

from .controller_process import (
    WAIT_SECONDS,
    Calls,
    ControllerProcess,
    calls_to,
    registration,
    running,
    snapshot,
)

MIB = 1_048_576


@pytest.fixture
def calls(tmp_path: Path) -> Iterator[Calls]:
    with running(tmp_path / "data") as calls:
        yield calls


def failure(call: Callable[[], object]) -> OttlaError:
    """What a call fails with, from the details of its status."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    trailers = caught.value.trailing_metadata() or ()
    status = next(each.value for each in trailers if each.key == STATUS_TRAILER)
    assert isinstance(status, bytes)
    error = from_status(status)
    assert error is not None
    return error


def create(calls: Calls, *topics: NewTopic, **fields: bool) -> admin_pb2.CreateTopicsResponse:
    response: admin_pb2.CreateTopicsResponse = calls.admin.CreateTopics(
        CreateTopicsRequest(topics=topics, **fields), timeout=WAIT_SECONDS
    )
    return response


def described(calls: Calls) -> tuple[dict[str, list[int]], list[int]]:
    """Partitions of every topic in the order they came, and the size of each page."""
    found: dict[str, list[int]] = {}
    sizes, token = [], ""
    while True:
        response = calls.admin.DescribeTopics(
            DescribeTopicsRequest(page_token=token), timeout=WAIT_SECONDS
        )
        sizes.append(response.ByteSize())
        for topic in response.topics:
            numbers = [partition.partition for partition in topic.partitions]
            found.setdefault(topic.name, []).extend(numbers)
        token = response.next_page_token
        if not token:
            return found, sizes


def test_topics_are_created_described_listed_and_deleted(calls: Calls) -> None:
    registered = calls.start_broker()
    response = create(
        calls,
        NewTopic(name="flights", partition_count=6, configs={"retention.ms": "1000"}),
        NewTopic(name="trains"),
        NewTopic(name="no/slash"),
    )
    assert [result.error.reason for result in response.results] == [
        0, 0, ErrorReason.ERROR_REASON_INVALID_TOPIC,
    ]  # fmt: skip
    assert [result.partition_count for result in response.results] == [6, 1, 0]
    topics = calls.admin.DescribeTopics(
        DescribeTopicsRequest(topics=[TopicRef(name="flights")]), timeout=WAIT_SECONDS
    ).topics
    assert [partition.leader for partition in topics[0].partitions] == [1] * 6
    listed = calls.admin.ListTopics(ListTopicsRequest(), timeout=WAIT_SECONDS).topics
    assert [topic.name for topic in listed] == ["flights", "trains"]
    deleted = calls.admin.DeleteTopics(
        DeleteTopicsRequest(topics=[TopicRef(topic_id=topics[0].topic_id)]), timeout=WAIT_SECONDS
    )
    assert not deleted.results[0].HasField("error")
    assert deleted.metadata_version.revision > response.metadata_version.revision
    listed = calls.admin.ListTopics(ListTopicsRequest(), timeout=WAIT_SECONDS).topics
    assert [topic.name for topic in listed] == ["trains"]
    cluster = calls.admin.DescribeCluster(DescribeClusterRequest(), timeout=WAIT_SECONDS)
    assert cluster.cluster_id == registered.cluster_id
    assert cluster.controller_epoch == registered.controller_epoch
    assert (cluster.metadata_store, cluster.topic_count) == ("sqlite", 1)
    assert [(each.node_id, each.active) for each in cluster.controllers] == [(1, True)]
    assert cluster.controllers[0].endpoints[0].port > 0


@pytest.mark.slow
def test_20_000_partitions_are_described_through_a_stock_stub_and_watched(calls: Calls) -> None:
    calls.start_broker()
    for name in ("a", "b"):
        response = create(calls, NewTopic(name=name, partition_count=10_000))
        assert not response.results[0].HasField("error")
    found, sizes = described(calls)
    assert found == {"a": list(range(10_000)), "b": list(range(10_000))}
    assert max(sizes) <= MIB
    messages = snapshot(calls.watch())
    assert max(message.ByteSize() for message in messages) <= MIB
    partitions = [
        (change.partition.topic_id, change.partition.partition)
        for message in messages
        for change in message.changes
        if change.HasField("partition")
    ]
    assert len(set(partitions)) == len(partitions) == 20_000


def test_a_watch_begins_with_a_snapshot_and_goes_on_with_changes(calls: Calls) -> None:
    registered = calls.start_broker()
    stream = calls.watch()
    (first,) = snapshot(stream)
    assert first.snapshot_begin
    assert first.controller_epoch == registered.controller_epoch
    kinds = [str(change.WhichOneof("change")) for change in first.changes]
    assert sorted(kinds) == ["broker", "cluster", "controller"]
    response = create(calls, NewTopic(name="flights", partition_count=3))
    delta = next(stream)
    assert delta.version == response.metadata_version
    assert sorted(change.WhichOneof("change") for change in delta.changes) == [
        "partition", "partition", "partition", "topic",
    ]  # fmt: skip
    stream.cancel()


def test_a_watch_resumes_without_a_snapshot_where_it_can(calls: Calls) -> None:
    calls.start_broker()
    version = snapshot(calls.watch())[-1].version
    stream = calls.watch(version)
    sign_of_life = next(stream)
    assert (sign_of_life.heartbeat, sign_of_life.version) == (True, version)
    create(calls, NewTopic(name="flights"))
    assert not next(stream).snapshot_begin
    for unknown in (
        MetadataVersion(generation=1, revision=version.revision + 1_000),
        MetadataVersion(generation=9, revision=version.revision),
        MetadataVersion(),
    ):
        assert next(calls.watch(unknown)).snapshot_begin
    stream.cancel()


def test_watchers_are_bounded(tmp_path: Path) -> None:
    with running(tmp_path, "--metadata-watchers-max=1") as calls:
        first = calls.watch()
        snapshot(first)
        error = failure(lambda: next(calls.watch()))
        assert error.reason == "TOO_MANY_CONNECTIONS"
        assert error.retry_after_ms == 1_000
        first.cancel()


def test_a_silent_broker_is_fenced_and_its_partitions_lose_their_leader(tmp_path: Path) -> None:
    flags = ("--session-timeout-ms=600", "--heartbeat-interval-ms=100")
    with running(tmp_path, *flags) as calls:
        calls.start_broker()
        stream = calls.watch()
        snapshot(stream)
        create(calls, NewTopic(name="flights"))
        changes = [change for message in (next(stream), next(stream)) for change in message.changes]
        assert [change.broker.fenced for change in changes if change.HasField("broker")] == [True]
        last = [change.partition for change in changes if change.HasField("partition")][-1]
        assert not last.HasField("leader_id")
        assert last.leader_epoch == 2
        stream.cancel()


def test_watchers_that_vanish_disturb_nobody(calls: Calls) -> None:
    calls.start_broker()
    for _ in range(20):
        stream = calls.watch()
        next(stream)
        stream.cancel()
        resumed = calls.watch(calls.version())
        next(resumed)
        resumed.cancel()
    assert snapshot(calls.watch())[-1].snapshot_complete


@pytest.mark.slow
def test_after_a_kill_everything_acknowledged_is_there(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with running(data, ended=[signal.SIGKILL]) as calls:
        before = calls.start_broker()
        topics = [NewTopic(name=f"t{number}", partition_count=3) for number in range(100)]
        created = create(calls, *topics, NewTopic(name="large", partition_count=500))
        assert not any(result.HasField("error") for result in created.results)
        calls.admin.DeleteTopics(
            DeleteTopicsRequest(topics=[TopicRef(name="t0")]), timeout=WAIT_SECONDS
        )
        expected, _ = described(calls)
    with running(data) as calls:
        assert described(calls)[0] == expected
        assert "t0" not in expected
        assert len(expected) == 100
        cluster = calls.admin.DescribeCluster(DescribeClusterRequest(), timeout=WAIT_SECONDS)
        assert cluster.cluster_id == before.cluster_id
        assert cluster.controller_epoch > before.controller_epoch
        assert cluster.metadata_version.revision >= created.metadata_version.revision
        assert not calls.heartbeat(before).fenced, "the session goes on with the new controller"


def test_a_second_process_on_the_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path) as calls:
        ended = ControllerProcess(tmp_path).end(None)
        assert ended.code == 1
        assert "another controller uses the data directory" in ended.last_line
        calls.start_broker()


def test_a_port_in_use_is_refused_in_one_line(tmp_path: Path) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        ended = ControllerProcess(tmp_path, port=port).end(None)
    assert ended.code == 1
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in ended.last_line


def test_a_directory_of_another_cluster_is_refused_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path, "--cluster-id=mine") as calls:
        assert calls.start_broker().cluster_id == "mine"
    ended = ControllerProcess(tmp_path, "--cluster-id=another").end(None)
    assert ended.code == 1
    assert "the metadata is of cluster 'mine', not 'another'" in ended.last_line


def test_a_directory_of_a_newer_release_is_refused_in_one_line(tmp_path: Path) -> None:
    with running(tmp_path):
        pass
    with closing(sqlite3.connect(tmp_path / "metadata.sqlite")) as connection, connection:
        connection.execute("UPDATE store SET number = 99 WHERE name = 'format_version'")
    ended = ControllerProcess(tmp_path).end(None)
    assert ended.code == 1
    assert "has format version 99" in ended.last_line


def test_a_directory_that_is_no_directory_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    ended = ControllerProcess(tmp_path / "file").end(None)
    assert ended.code == 1
    assert "cannot use the data directory" in ended.last_line


def test_settings_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    flags = ("--session-timeout-ms=1000", "--heartbeat-interval-ms=900")
    ended = ControllerProcess(tmp_path, *flags).end(None)
    assert ended.code == 2
    assert "session.timeout.ms must be at least twice" in ended.last_line


def test_a_controller_that_is_asked_to_stop_ends_its_streams_and_itself(tmp_path: Path) -> None:
    controller = ControllerProcess(tmp_path)
    with calls_to(controller.ready()["port"]) as calls:
        stream = calls.watch()
        snapshot(stream)
        controller.process.send_signal(signal.SIGTERM)
        assert failure(lambda: next(stream)).reason == "DRAINING"
    ended = controller.end(None)
    assert ended.code == 0
    assert ended.last_line == ""


def test_registrations_that_cannot_be_are_refused_with_reasons(calls: Calls) -> None:
    registered = calls.start_broker()
    register = calls.controller.RegisterBroker
    for request, reason in (
        (registration(0), "INVALID_REQUEST"),
        (registration(2, incarnation_id=b"short"), "INVALID_REQUEST"),
        (registration(2, cluster_id="another"), "CLUSTER_MISMATCH"),
        (registration(2, feature_level_max=0), "UNSUPPORTED_VERSION"),
        (registration(1), "DUPLICATE_NODE_ID"),
        (registration(2, directory_ids=[(1).to_bytes(16)]), "DUPLICATE_NODE_ID"),
    ):
        error = failure(partial(register, request, timeout=WAIT_SECONDS))
        assert error.reason == reason
    stale = HeartbeatRequest(node_id=1, broker_epoch=registered.broker_epoch - 1)
    error = failure(lambda: calls.controller.Heartbeat(stale, timeout=WAIT_SECONDS))
    assert error.reason == "STALE_BROKER_EPOCH"
    assert not calls.heartbeat(registered).fenced, "the service goes on"


def test_a_field_at_fault_is_named(calls: Calls) -> None:
    request = registration(2, directory_ids=[])
    error = failure(lambda: calls.controller.RegisterBroker(request, timeout=WAIT_SECONDS))
    assert [each.field for each in error.field_errors] == ["directory_ids"]


def test_admin_requests_out_of_bounds_are_refused_with_reasons(calls: Calls) -> None:
    calls.start_broker()
    refs = [TopicRef(name="a")] * 1_001
    for call, request in (
        (calls.admin.CreateTopics, CreateTopicsRequest()),
        (calls.admin.CreateTopics, CreateTopicsRequest(topics=[NewTopic(name="a")] * 1_001)),
        (calls.admin.DeleteTopics, DeleteTopicsRequest(topics=refs)),
        (calls.admin.DescribeTopics, DescribeTopicsRequest(topics=refs)),
        (calls.admin.DescribeTopics, DescribeTopicsRequest(page_size=5_000)),
        (calls.admin.ListTopics, ListTopicsRequest(page_token="made up")),
    ):
        error = failure(partial(call, request, timeout=WAIT_SECONDS))
        assert error.reason == "INVALID_REQUEST"


def test_bad_items_have_reasons_of_their_own(calls: Calls) -> None:
    calls.start_broker()
    bad = [
        (NewTopic(name=""), "INVALID_TOPIC"),
        (NewTopic(name="x" * 1_000_000), "INVALID_TOPIC"),
        (NewTopic(name="__reserved"), "INVALID_TOPIC"),
        (NewTopic(name="twice"), "INVALID_REQUEST"),
        (NewTopic(name="twice"), "INVALID_REQUEST"),
        (NewTopic(name="many", partition_count=10_001), "INVALID_REQUEST"),
        (NewTopic(name="wide", replication_factor=2), "UNSUPPORTED_VERSION"),
        (NewTopic(name="odd", configs={"retention.mss": "1"}), "INVALID_CONFIG"),
        (NewTopic(name="low", configs={"retention.ms": "-5"}), "INVALID_CONFIG"),
    ]
    response = create(calls, *(topic for topic, _ in bad), NewTopic(name="good"))
    reasons = [
        ErrorReason.Name(result.error.reason).removeprefix("ERROR_REASON_")
        for result in response.results[:-1]
    ]
    assert reasons == [reason for _, reason in bad]
    assert not response.results[-1].HasField("error")
    assert response.ByteSize() < MIB
    again = create(calls, NewTopic(name="good", partition_count=2))
    assert again.results[0].error.reason == ErrorReason.ERROR_REASON_TOPIC_EXISTS


@pytest.mark.parametrize(
    ("method", "request_of"),
    [
        ("DeleteRecords", admin_pb2.DeleteRecordsRequest),
        ("DescribeLogDirectories", admin_pb2.DescribeLogDirectoriesRequest),
    ],
)
def test_operations_on_records_are_asked_of_brokers(
    calls: Calls, method: str, request_of: type[object]
) -> None:
    rpc = getattr(calls.admin, method)
    error = failure(lambda: rpc(request_of(), timeout=WAIT_SECONDS))
    assert error.reason == "UNSUPPORTED_VERSION"
    assert method in error.message


def test_directories_and_in_sync_sets_are_kept(calls: Calls) -> None:
    registered = calls.start_broker()
    topic_id = create(calls, NewTopic(name="flights")).results[0].topic_id
    assigned = calls.controller.AssignDirectories(
        AssignDirectoriesRequest(
            node_id=1,
            broker_epoch=registered.broker_epoch,
            assignments=[
                DirectoryAssignment(topic_id=topic_id, partition=0, directory_id=(1).to_bytes(16))
            ],
        ),
        timeout=WAIT_SECONDS,
    )
    messages = snapshot(calls.watch())
    (record,) = [
        change.partition
        for message in messages
        for change in message.changes
        if change.HasField("partition")
    ]
    assert record.replicas[0].directory_id == (1).to_bytes(16)
    assert messages[-1].version == assigned.metadata_version
    change = PartitionChange(
        topic_id=topic_id,
        partition=0,
        leader_epoch=record.leader_epoch,
        partition_epoch=record.partition_epoch + 1,
        isr=[IsrMember(node_id=1, broker_epoch=registered.broker_epoch)],
    )
    response = calls.controller.AlterPartitions(
        AlterPartitionsRequest(node_id=1, broker_epoch=registered.broker_epoch, changes=[change]),
        timeout=WAIT_SECONDS,
    )
    assert response.results[0].error.reason == ErrorReason.ERROR_REASON_VERSION_CONFLICT
    assert response.results[0].record == record


def test_garbage_on_the_port_disturbs_nobody(tmp_path: Path) -> None:
    controller = ControllerProcess(tmp_path)
    port = controller.ready()["port"]
    try:
        for data in (b"GET / HTTP/1.1\r\n\r\n", os.urandom(10_000), b""):
            with closing(socket.create_connection(("127.0.0.1", port), timeout=5)) as connection:
                connection.sendall(data)
        with calls_to(port) as calls:
            assert calls.start_broker().broker_epoch > 0
    finally:
        assert controller.end().code == 0


def full(data_dir: Path) -> None:
    """Have every write of metadata fail from now on, as on a disk with no room for it."""
    with running(data_dir):
        pass
    with closing(sqlite3.connect(data_dir / "metadata.sqlite")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON revisions"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        database.commit()


def test_a_controller_that_cannot_lead_says_why_once_and_ends_at_once_when_told(
    tmp_path: Path,
) -> None:
    full(tmp_path)
    controller = ControllerProcess(tmp_path)
    reason = "the metadata store failed: database or disk is full"
    assert controller.ready() == {"waiting": reason}
    ended = controller.end()
    events = [json.loads(line)["event"] for line in ended.stderr.splitlines()]
    assert ended.code == 0
    assert events.count("controller.term_ended") == 1
    assert "service.drain_cancelled" not in events


def test_why_a_controller_cannot_start_is_told_on_its_pipe_too(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    controller = ControllerProcess(tmp_path / "file")
    why = controller.ready()["failed"]
    ended = controller.end(None)
    assert ended.last_line == f"ottla controller: {why}"
    assert ended.code == 1
