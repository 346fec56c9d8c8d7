"""Controllers where they should not be: refused in one line that says what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import grpc
import pytest
from integration.controller.controller_process import registration
from integration.walk.processes import ServiceProcess

from kit.etcd import EtcdCluster
from ottla.protocol.errors import MetadataStoreUnavailable
from ottla.storage.metadata.v1.metadata_record_pb2 import ClusterRecord
from ottla_controller.core.record_keys import CLUSTER_KEY
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_controller.store.etcd_store import EtcdMetadataStore
from ottla_controller.store.interface import PutKey
from ottla_runtime.clock import SystemClock
from ottla_runtime.entropy import SystemEntropy

from .platform import ControllerCalls, Platform, error_of_call, eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.may_block(reason="the test starts processes"),
]


def controller(
    folder: Path, etcd: EtcdCluster, *more: str, node_id: int = 1, prefix: str = "one"
) -> ServiceProcess:
    return ServiceProcess(
        "ottla_controller",
        f"--node-id={node_id}",
        f"--metadata-store={etcd.connect}/{prefix}",
        *more,
        log=folder / f"controller-{node_id}-{len(more)}.log",
    )


def last_line(process: ServiceProcess) -> str:
    """What it said to people; the lines of JSON before it are the log."""
    told = [line for line in process.log_text().splitlines() if not line.startswith("{")]
    return told[-1] if told else ""


async def test_a_second_cluster_on_the_same_prefix_is_refused(
    tmp_path: Path, lone: EtcdCluster
) -> None:
    first = controller(tmp_path, lone, "--cluster-id=first")
    second = controller(tmp_path, lone, "--cluster-id=second", "--log-level=info", node_id=2)
    elsewhere = controller(tmp_path, lone, "--cluster-id=second", node_id=2, prefix="two")
    try:
        await first.start()
        assert await second.refuse() == 1
        assert "metadata is of cluster 'first', not 'second'" in last_line(second)
        assert "another prefix in etcd" in last_line(second)
        await elsewhere.start()
    finally:
        await first.kill()
        await elsewhere.kill()


async def test_a_second_controller_with_the_same_node_id_is_refused(
    platform: Platform,
) -> None:
    twin = platform.controller(1)
    assert await twin.refuse() == 1
    assert "another controller with node id 1 is alive" in twin.log_text()
    assert "give each controller a node.id of its own" in twin.log_text()
    await platform.active()


async def test_records_of_a_newer_format_are_refused(tmp_path: Path, lone: EtcdCluster) -> None:
    settings = EtcdSettings.parsed(f"{lone.connect}/one")
    record = ClusterRecord(cluster_id="a", format_version=9, feature_level=1, generation=1)
    async with EtcdMetadataStore.opened(
        settings, clock=SystemClock(), entropy=SystemEntropy()
    ) as store:
        await store.transact([], [PutKey(CLUSTER_KEY, record.SerializeToString())])
    process = controller(tmp_path, lone)
    assert await process.refuse() == 1
    assert "format version 9" in last_line(process)
    assert "start a newer release" in last_line(process)


async def test_wrong_credentials_are_told_at_the_start_and_waited_out_later(
    tmp_path: Path, lone: EtcdCluster
) -> None:
    password = tmp_path / "password"
    password.write_text("right")
    login = ("--metadata-store-username=ottla", f"--metadata-store-password-file={password}")
    await asyncio.to_thread(
        lambda: lone.enable_authentication(user="ottla", password="right", prefix="/one/")
    )
    good = controller(tmp_path, lone, *login)
    bad = controller(
        tmp_path, lone, *login[:1], "--metadata-store-password=wrong", "--access-log=none"
    )
    nobody = controller(tmp_path, lone, node_id=3)
    try:
        assert await bad.refuse() == 1
        assert "does not take this user name with this password" in last_line(bad)
        assert await nobody.refuse() == 1
        assert last_line(nobody).startswith("ottla controller: etcd: ")
        await good.start()
        calls = ControllerCalls(good.port)
        await calls.service.RegisterBroker(registration(1), timeout=10)
        await asyncio.to_thread(lone.ctl, "user", "revoke-role", "ottla", "controllers")
        refused = await error_of_call(calls.service.RegisterBroker(registration(2), timeout=10))
        assert isinstance(refused, MetadataStoreUnavailable), "it is not the broker's fault"
        assert sorted(each.node_id for each in (await calls.described()).brokers) == [1]
        await asyncio.to_thread(lone.ctl, "user", "grant-role", "ottla", "controllers")

        async def registered() -> object:
            try:
                return await calls.service.RegisterBroker(registration(2), timeout=10)
            except grpc.RpcError:
                return None

        await eventually(registered, what="broker that is let in")
        await calls.channel.close()
    finally:
        await good.kill()


async def test_a_controller_waits_for_an_etcd_that_is_not_there_yet(
    tmp_path: Path, lone: EtcdCluster
) -> None:
    await asyncio.to_thread(lone.stop)
    process = controller(tmp_path, lone)
    log = tmp_path / "controller-1-0.log"
    log.touch()
    async with asyncio.TaskGroup() as group:
        starting = group.create_task(process.start(), name="controller")

        async def waits() -> object:
            return "metadata_store.open_failed" in process.log_text() or None

        await eventually(waits, what="word that it waits")
        await asyncio.to_thread(lone.start)
        await starting
    await process.kill()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        ((), "give data.dir for the embedded store, or metadata.store for etcd"),
        (("--metadata-store-username=x", "--data-dir=d"), "metadata.store is not set"),
        (
            ("--metadata-store=host:1/one", "--data-dir=d"),
            "unset one of data.dir and metadata.store",
        ),
        (("--metadata-store=host:1/one", "--lease-ttl-ms=1000"), "at least 2000 with etcd"),
        (("--metadata-store=host:x",), "host:2379,host:2379/prefix"),
    ],
)
async def test_settings_that_contradict_each_other_say_what_to_do(
    tmp_path: Path, flags: tuple[str, ...], told: str
) -> None:
    process = ServiceProcess(
        "ottla_controller", "--node-id=1", *flags, log=tmp_path / "controller.log"
    )
    assert await process.refuse() in {1, 2}
    assert told in last_line(process)
