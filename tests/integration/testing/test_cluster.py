"""`ottla.testing.cluster()`: real services in this process for whoever asks, and then nothing."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

import ottla.testing
from ottla.client.admin import Admin
from ottla.client.consumer import Consumer
from ottla.client.producer import Producer
from ottla.protocol.errors import InvalidConfig, OttlaError, RecordTooLarge, TopicExists
from ottla.testing import ClusterError

FAST = {"session.timeout.ms": 500}
"""Silence that ends a killed broker's session, so that it is let in again."""


async def sent(bootstrap: str, *values: bytes, topic: str = "flights") -> list[int | None]:
    async with Producer(bootstrap) as producer:
        receipts = await (await producer.send_many(topic, values))
    return [receipt.offset for receipt in receipts]


async def found(bootstrap: str, count: int, *, topic: str = "flights") -> list[bytes | None]:
    async with Consumer(bootstrap, auto_offset_reset="earliest") as consumer:
        await consumer.assign([topic])
        return [(await anext(consumer)).value for _ in range(count)]


def test_a_test_without_a_loop_gets_a_cluster() -> None:
    with ottla.testing.cluster() as cluster:
        created = cluster.create_topic("flights", partition_count=3)
        assert (created.name, created.partition_count) == ("flights", 3)
        assert cluster.bootstrap == f"127.0.0.1:{cluster.broker.port}"
        assert asyncio.run(sent(cluster.bootstrap, b"a", b"b"))
        assert set(asyncio.run(found(cluster.bootstrap, 2))) == {b"a", b"b"}


async def test_a_test_on_a_loop_gets_a_cluster() -> None:
    async with ottla.testing.cluster(topics={"flights": 1, "delays": 2}) as cluster:
        await cluster.create_topic("extra", configs={"retention.ms": "1000"})
        assert await sent(cluster.bootstrap, b"a", b"b") == [0, 1]
        assert await found(cluster.bootstrap, 2) == [b"a", b"b"]
        async with Admin(cluster.bootstrap) as admin:
            counts = {each.name: len(each.partitions) for each in await admin.describe_topics()}
        assert counts == {"flights": 1, "delays": 2, "extra": 1}


def test_coroutines_use_a_cluster_that_was_begun_without_await() -> None:
    async def use() -> list[int | None]:
        await cluster.aio.create_topic("flights")
        offsets = await sent(cluster.aio.bootstrap, b"a")
        await cluster.aio.broker.stop()
        await cluster.aio.broker.start()
        return offsets + await sent(cluster.bootstrap, b"b")

    with ottla.testing.cluster() as cluster:
        assert asyncio.run(use()) == [0, 1]


def test_threads_with_loops_of_their_own_share_a_cluster() -> None:
    offsets: list[int | None] = []

    def work(number: int) -> None:
        cluster.create_topic(f"topic-{number}")
        offsets.extend(asyncio.run(sent(cluster.bootstrap, b"v", topic=f"topic-{number}")))

    with ottla.testing.cluster() as cluster:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert offsets == [0, 0, 0, 0]


async def test_two_clusters_know_nothing_of_each_other() -> None:
    topics = {"flights": 1}
    async with (
        ottla.testing.cluster(topics=topics) as first,
        ottla.testing.cluster(topics=topics) as second,
    ):
        assert first.data_dir != second.data_dir
        assert await sent(first.bootstrap, b"first") == [0]
        assert await sent(second.bootstrap, b"second") == [0]
        assert await found(first.bootstrap, 1) == [b"first"]
        assert await found(second.bootstrap, 1) == [b"second"]


def test_nothing_is_left_of_a_cluster() -> None:
    with ottla.testing.cluster(topics={"flights": 1}) as cluster:
        data_dir, port = cluster.data_dir, cluster.broker.port
        assert any(data_dir.iterdir())
    assert not data_dir.exists()
    assert "ottla-testing" not in [thread.name for thread in threading.enumerate()]
    with pytest.raises(ClusterError, match="closed"):
        cluster.create_topic("late")
    assert cluster.broker.port == port


async def test_data_stays_where_it_was_told_to(tmp_path: Path) -> None:
    place = tmp_path / "deep" / "data"
    async with ottla.testing.cluster(data_dir=place, topics={"flights": 1}) as cluster:
        assert cluster.data_dir == place
        assert await sent(cluster.bootstrap, b"before") == [0]
    async with ottla.testing.cluster(data_dir=str(place), topics={"flights": 1}) as cluster:
        assert await sent(cluster.bootstrap, b"after") == [1]
        assert await found(cluster.bootstrap, 2) == [b"before", b"after"]


async def clean_marks(data_dir: Path) -> int:
    return await asyncio.to_thread(lambda: len(list(data_dir.rglob("clean-shutdown"))))


async def test_a_stopped_broker_comes_back_with_everything_at_the_same_address() -> None:
    async with ottla.testing.cluster(topics={"flights": 1}) as cluster:
        bootstrap = cluster.bootstrap
        assert await sent(bootstrap, b"before") == [0]
        await cluster.broker.stop()
        assert await clean_marks(cluster.data_dir) == 1
        await cluster.broker.stop()  # again: nothing
        with pytest.raises(OttlaError):
            async with Admin(bootstrap, timeout_ms=300) as admin:
                await admin.list_topics()
        await cluster.broker.start()
        assert cluster.bootstrap == bootstrap
        assert await sent(bootstrap, b"after") == [1]
        assert await found(bootstrap, 2) == [b"before", b"after"]


async def test_a_killed_broker_leaves_its_log_as_a_crash_does_and_comes_back() -> None:
    values = [b"%d" % number for number in range(1_000)]
    async with ottla.testing.cluster(topics={"flights": 1}, controller_settings=FAST) as cluster:
        bootstrap = cluster.bootstrap
        async with (
            Consumer(bootstrap, auto_offset_reset="earliest") as consumer,
            Producer(bootstrap) as producer,
        ):
            await consumer.assign(["flights"])
            _ = await (await producer.send_many("flights", values))
            await cluster.broker.kill()
            assert await clean_marks(cluster.data_dir) == 0
            waiting = await producer.send("flights", b"while it was down")
            await cluster.broker.start()
            assert (await waiting).offset == 1_000
            taken = [(await anext(consumer)).value for _ in range(1_001)]
        assert taken == [*values, b"while it was down"]


async def test_records_flow_without_a_controller_and_topics_wait_for_it() -> None:
    async with ottla.testing.cluster(topics={"flights": 1}) as cluster:
        await cluster.controller.kill()
        assert await sent(cluster.bootstrap, b"still") == [0]
        await cluster.controller.start()
        await cluster.create_topic("later")
        assert await found(cluster.bootstrap, 1) == [b"still"]


def test_what_runs_already_cannot_be_started() -> None:
    with (
        ottla.testing.cluster() as cluster,
        pytest.raises(ClusterError, match="the broker runs already"),
    ):
        cluster.broker.start()


async def test_settings_reach_the_services() -> None:
    async with ottla.testing.cluster(
        broker_settings={"max.message.bytes": 2_048, "flush_on_ack": False},
        controller_settings={"num-partitions": 4},
    ) as cluster:
        created = await cluster.create_topic("flights", partition_count=0)
        assert created.partition_count == 4
        with pytest.raises(RecordTooLarge):
            await sent(cluster.bootstrap, b"x" * 4_000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"retention.mss": 1}, "settings of the broker: .*the nearest is --retention-ms"),
        ({"retention.ms": "soon"}, "settings of the broker: --retention-ms 'soon'"),
    ],
)
def test_settings_that_cannot_be_are_refused_before_anything_runs(
    settings: dict[str, object], message: str
) -> None:
    with (
        pytest.raises(InvalidConfig, match=message),
        ottla.testing.cluster(broker_settings=settings),
    ):
        pytest.fail("the block must not begin")


async def test_a_topic_that_exists_with_other_settings_is_an_error_of_the_call() -> None:
    async with ottla.testing.cluster(topics={"flights": 1}) as cluster:
        with pytest.raises(TopicExists):
            await cluster.create_topic("flights", partition_count=2)
        assert await sent(cluster.bootstrap, b"fine") == [0]
