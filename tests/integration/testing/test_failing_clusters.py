"""Clusters that go wrong: told clearly, at once, and nothing left running."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest

import ottla.testing
from ottla.testing import ClusterError
from ottla.testing.reserved_port import ReservedPort
from ottla_broker.metadata.idle_alarms import IdleAlarms
from ottla_runtime.config import ServiceConfig
from ottla_runtime.hosted import HostedService


def cluster_threads() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name == "ottla-testing"]


def test_a_directory_in_use_is_refused_with_its_reason(tmp_path: Path) -> None:
    with ottla.testing.cluster(data_dir=tmp_path) as cluster:
        with (
            pytest.raises(
                ClusterError, match="the controller did not start: another controller uses"
            ),
            ottla.testing.cluster(data_dir=tmp_path),
        ):
            pytest.fail("the block must not begin")
        assert cluster_threads() == ["ottla-testing"]
        assert cluster.create_topic("flights").name == "flights"


def test_a_place_that_cannot_be_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OSError, match="file"), ottla.testing.cluster(data_dir=file / "data"):
        pytest.fail("the block must not begin")
    assert cluster_threads() == []


async def test_a_broker_that_cannot_listen_says_so_and_takes_the_controller_with_it() -> None:
    with pytest.raises(ClusterError, match=r"the broker did not start: .*192\.0\.2\.1"):
        async with ottla.testing.cluster(broker_settings={"host": "192.0.2.1"}):
            pytest.fail("the block must not begin")
    assert cluster_threads() == []


class Breaker:
    """Brokers of this test, which die of a planted defect when told to."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._ended = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._defect = asyncio.Event()
        monkeypatch.setattr(IdleAlarms, "run", lambda _: self._alarms())
        real_run = HostedService.run

        async def run(service: HostedService[ServiceConfig]) -> None:
            task = asyncio.current_task()
            assert task is not None
            if task.get_name() == "test-broker":
                task.add_done_callback(lambda _: self._ended.set())
            await real_run(service)

        monkeypatch.setattr(HostedService, "run", run)

    async def _alarms(self) -> None:
        self._loop, self._defect = asyncio.get_running_loop(), asyncio.Event()
        await self._defect.wait()
        raise KeyError("planted")

    def break_it(self) -> None:
        """Return when the broker is dead."""
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._defect.set)
        self._ended.wait()


def test_a_service_that_ended_by_itself_fails_the_block(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker(monkeypatch)
    with (
        pytest.raises(ClusterError, match=r"the broker ended by itself: .*idle-alarms.*planted"),
        ottla.testing.cluster(),
    ):
        breaker.break_it()


async def test_the_blocks_own_failure_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    breaker = Breaker(monkeypatch)
    with pytest.raises(ZeroDivisionError) as caught:
        async with ottla.testing.cluster():
            await asyncio.to_thread(breaker.break_it)
            raise ZeroDivisionError
    assert "the broker ended by itself" in caught.value.__notes__[0]


async def test_a_service_that_ended_by_itself_fails_the_next_call_and_may_start_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    breaker = Breaker(monkeypatch)
    async with ottla.testing.cluster(controller_settings={"session.timeout.ms": 500}) as cluster:
        await asyncio.to_thread(breaker.break_it)
        with pytest.raises(ClusterError, match="the broker ended by itself"):
            await cluster.broker.stop()
        await cluster.broker.start()
        assert (await cluster.create_topic("flights")).name == "flights"


@pytest.mark.parametrize("turns", [1, 3, 10, 30])
async def test_entering_may_be_cancelled_and_leaves_nothing(turns: int) -> None:
    async def enter() -> None:
        async with ottla.testing.cluster():
            await asyncio.Event().wait()

    async with asyncio.TaskGroup() as group:
        entering = group.create_task(enter(), name="entering")
        for _ in range(turns):
            await asyncio.sleep(0)
        entering.cancel()
    assert entering.cancelled()
    assert cluster_threads() == []


def test_a_child_process_cannot_use_its_parents_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    with ottla.testing.cluster() as cluster:
        with monkeypatch.context() as child:
            child.setattr(os, "getpid", lambda: -1)
            with pytest.raises(ClusterError, match="started by another process"):
                cluster.broker.stop()
        cluster.broker.stop()


def test_a_reserved_port_is_lent_to_who_shares_it_and_given_to_nobody_else() -> None:
    reserved = ReservedPort()
    try:
        for shares in (True, False):
            with socket.socket() as listener:
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, int(shares))
                if shares:
                    listener.bind(("127.0.0.1", reserved.number))
                    listener.listen()
                    continue
                with pytest.raises(OSError, match="in use"):
                    listener.bind(("127.0.0.1", reserved.number))
    finally:
        reserved.close()
