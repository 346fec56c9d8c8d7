"""From a laptop to a cluster: `ottla up` on SQLite, moved to controllers on etcd by commands."""

from __future__ import annotations

from pathlib import Path

import pytest
from integration.cli.arrangement import Up, run_ottla
from integration.walk.processes import ServiceProcess

from kit.etcd import EtcdCluster

from .platform import Platform

pytestmark = [
    pytest.mark.slow,
    pytest.mark.may_block(reason="the test runs commands as a person does, one after the other"),
]

LINES = [f"carrier-{number % 7}:flight-{number}" for number in range(2_000)]
WHOLE = ("--from-beginning", "--until-end", "--print-key", "--separator", ":")


def laptop(folder: Path, file: Path) -> Path:
    """Fills a platform, exports it and stops it; returns the data directory of its broker."""
    up = Up(folder)
    try:
        assert up.wait_ready(), up.end(None).err
        up.ottla("topics", "create", "flights", "--partitions", "3", "-c", "segment.ms=60000")
        stdin = "\n".join(LINES).encode()
        up.ottla("produce", "flights", "--key-separator", ":", stdin=stdin)
        up.ottla("configs", "alter", "cluster", "--set", "max.message.bytes=700000")
        up.ottla("cluster", "export", str(file))
        assert up.end().code == 0
    finally:
        up.close()
    return folder / "broker-1"


async def test_a_laptop_moves_to_a_cluster_and_no_record_is_lost(
    lone: EtcdCluster, tmp_path: Path
) -> None:
    file = tmp_path / "metadata.ottla"
    data = laptop(tmp_path / "up", file)
    platform = Platform(tmp_path, lone)
    platform.broker = ServiceProcess(
        "ottla_broker", "--node-id=1", f"--data-dir={data}", log=tmp_path / "broker.log"
    )
    try:
        await platform.start_controllers()
        active, _ = await platform.active()
        standby = next(each for node, each in platform.controllers.items() if node != active)
        asked = ("--controller", f"127.0.0.1:{standby.port}")
        imported = run_ottla("cluster", "import", str(file), *asked)
        assert imported.err.startswith("Imported 1 topic, 3 partitions, ")
        run_ottla("cluster", "import", str(file), *asked)  # as after an answer that was lost
        await platform.start_broker()
        user = {"OTTLA_BOOTSTRAP": f"127.0.0.1:{platform.broker.port}"}
        read = run_ottla("consume", "flights", *WHOLE, user=user)
        assert sorted(read.lines) == sorted(LINES)
        cluster = run_ottla("cluster", "describe", "-o", "json", user=user).document
        assert cluster["metadata_store"] == "etcd"
        assert [each["node_id"] for each in cluster["controllers"] if each["active"]] == [active]
        topic = run_ottla("topics", "describe", "flights", "-o", "json", user=user).document
        assert topic["configs"] == {"segment.ms": "60000"}
        settings = run_ottla("configs", "describe", "cluster", "-o", "json", user=user).document
        assert [(each["name"], each["value"]) for each in settings["settings"]] == [
            ("max.message.bytes", "700000")
        ]
        run_ottla("produce", "flights", "--key-separator", ":", stdin=b"new:one\n", user=user)
        more = run_ottla("consume", "flights", *WHOLE, user=user)
        assert sorted(more.lines) == sorted([*LINES, "new:one"])
    finally:
        await platform.stop()
