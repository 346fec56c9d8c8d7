"""A disk that fails while its broker runs: its partitions are offline, the others go on."""

from __future__ import annotations

import errno
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from integration.broker.fake_controller import FakeController
from integration.broker.requests import collected, failure, publish, read, records_of
from integration.broker.running_broker import RunningBroker, fake_controller, running_broker

from kit.faulty_filesystem import FaultyFilesystem
from ottla.protocol.error_details import from_proto
from ottla_broker import app


@dataclass
class TwoDisks:
    """A broker with a partition on each of two disks, both with a record."""

    broker: RunningBroker
    controller: FakeController
    filesystem: FaultyFilesystem
    failing_disk: Path
    failing_id: bytes
    failing: int
    """The partition on the disk that a test fails."""

    @property
    def healthy(self) -> int:
        return 1 - self.failing

    async def publish(self, value: bytes, partition: int) -> str:
        """The reason it is refused with; empty if it is acknowledged."""
        request = publish("spread", value, partition=partition)
        result = (await self.broker.produce.Publish(request, timeout=10)).results[0]
        return from_proto(result.error).reason if result.HasField("error") else ""

    async def values(self, partition: int) -> list[bytes | None]:
        messages = await collected(
            self.broker.fetch.Read(read("spread", partition=partition), timeout=10)
        )
        return [each.value for each in records_of(messages)]


@pytest.fixture
async def two_disks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[TwoDisks]:
    filesystem = FaultyFilesystem()
    monkeypatch.setattr(app, "OsFilesystem", lambda: filesystem)
    disks = (tmp_path / "disk-a", tmp_path / "disk-b")
    async with (
        fake_controller() as controller,
        running_broker(tmp_path / "data", controller, log_dirs=disks) as broker,
    ):
        await broker.create_topic("spread", partition_count=2)
        failing_id = controller.registrations[-1].directory_ids[1]
        assigned = {each.directory_id: each.partition for each in controller.assigned}
        running = TwoDisks(
            broker, controller, filesystem, disks[1], failing_id, assigned[failing_id]
        )
        for partition in (0, 1):
            assert await running.publish(b"before", partition) == ""
        filesystem.failing_under = disks[1]
        yield running


@pytest.mark.parametrize("operation", ["datasync", "pwritev"])
async def test_partitions_of_a_disk_that_fails_are_offline_and_the_others_go_on(
    two_disks: TwoDisks, operation: str
) -> None:
    two_disks.filesystem.errors[operation] = errno.EIO
    first = await two_disks.publish(b"lost", two_disks.failing)
    assert first in {"STORAGE_OFFLINE", "OUTCOME_UNKNOWN"}
    assert await two_disks.publish(b"refused", two_disks.failing) in {
        "STORAGE_OFFLINE",
        "LEADER_NOT_AVAILABLE",
    }
    request = read("spread", partition=two_disks.failing)
    error = await failure(collected(two_disks.broker.fetch.Read(request, timeout=10)))
    assert error.reason in {"STORAGE_OFFLINE", "LEADER_NOT_AVAILABLE"}
    assert await two_disks.publish(b"after", two_disks.healthy) == ""
    assert await two_disks.values(two_disks.healthy) == [b"before", b"after"]


async def test_a_disk_that_fails_is_told_to_the_controller_and_stays_away_when_it_works_again(
    two_disks: TwoDisks,
) -> None:
    two_disks.filesystem.errors["datasync"] = errno.EIO
    assert await two_disks.publish(b"lost", two_disks.failing) != ""
    await two_disks.controller.directory_failed.wait()
    told = two_disks.controller.heartbeats[-1].offline_directory_ids
    assert list(told) == [two_disks.failing_id]
    two_disks.filesystem.errors.clear()
    assert await two_disks.publish(b"refused", two_disks.failing) != ""
    assert await two_disks.publish(b"after", two_disks.healthy) == ""


@pytest.fixture
def no_directory(tmp_path: Path) -> Path:
    """A place where no directory can be made."""
    in_the_way = tmp_path / "file"
    in_the_way.touch()
    return in_the_way / "logs"


async def test_a_disk_that_is_not_there_when_its_broker_starts_leaves_the_others(
    tmp_path: Path, no_directory: Path
) -> None:
    disks = (no_directory, tmp_path / "healthy")
    async with (
        fake_controller() as controller,
        running_broker(tmp_path / "data", controller, log_dirs=disks) as broker,
    ):
        await broker.create_topic("there", partition_count=1)
        result = (await broker.produce.Publish(publish("there", b"1"), timeout=10)).results[0]
        assert not result.HasField("error"), result.error
