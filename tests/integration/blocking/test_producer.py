"""The blocking producer: what `ottla.Producer` promises, to callers in threads."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from integration.blocking.cluster_process import ClusterProcess
from integration.client.arrangement import stored

import ottla.testing
from ottla import blocking
from ottla.blocking.loop_thread import THREAD_NAME
from ottla.client.record_values import PreparedRecord
from ottla.protocol.errors import (
    BufferFull,
    InvalidRequest,
    InvalidTopic,
    OttlaError,
    RecordTooLarge,
    UnknownTopicOrPartition,
)


@pytest.fixture
def topic(cluster: ClusterProcess, request: pytest.FixtureRequest) -> str:
    """A topic of this test alone, with one partition."""
    name: str = request.node.name
    cluster.create_topic(name)
    return name


def values_in(cluster: ClusterProcess, topic: str, partition: int = 0) -> list[bytes]:
    return asyncio.run(stored(cluster.bootstrap, topic, partition))


def test_a_record_is_acknowledged_with_its_place(cluster: ClusterProcess, topic: str) -> None:
    with blocking.Producer(cluster.bootstrap) as producer:
        delivery = producer.send(topic, b"v", key=b"k", headers=[("h", b"1")], timestamp_ms=7)
        assert delivery.result() == (topic, 0, 0, 7)
        assert delivery.done()
        assert delivery.result(timeout_ms=0) == (topic, 0, 0, 7)
        assert producer.send(topic, None, key=b"k").result().offset == 1
        assert producer.send_many(topic, [b"v"], timestamp_ms=0).result() == [(topic, 0, 2, 0)]


def test_everything_is_delivered_in_order_when_the_block_ends(
    cluster: ClusterProcess, topic: str
) -> None:
    values = [b"%05d" % number for number in range(20_000)]
    with blocking.Producer(cluster.bootstrap) as producer:
        deliveries = [producer.send(topic, value) for value in values]
    assert [delivery.result().offset for delivery in deliveries] == list(range(20_000))
    assert values_in(cluster, topic) == values


def test_send_many_takes_values_and_pairs_of_any_iterable(
    cluster: ClusterProcess, topic: str
) -> None:
    given: list[bytes | tuple[bytes | None, bytes | None]] = [b"plain", (b"key", b"keyed")]
    with blocking.Producer(cluster.bootstrap) as producer:
        many = producer.send_many(topic, (b"%06d" % number for number in range(50_000)))
        few = producer.send_many(topic, given)
        assert (len(many), len(few)) == (50_000, 2)
        receipts = many.result() + few.result()
        assert many.done()
        assert few.done()
        assert producer.send_many(topic, []).result() == []
    assert [receipt.offset for receipt in receipts] == list(range(50_002))
    found = values_in(cluster, topic)
    assert found == [b"%06d" % number for number in range(50_000)] + [b"plain", b"keyed"]


def test_records_larger_than_a_portion_travel_alone(cluster: ClusterProcess, topic: str) -> None:
    values = [bytes([number]) * 700_000 for number in range(5)]
    with blocking.Producer(cluster.bootstrap, buffer_bytes=2 << 20) as producer:
        receipts = producer.send_many(topic, values).result()
    assert [receipt.offset for receipt in receipts] == list(range(5))
    assert values_in(cluster, topic) == values


def test_many_threads_share_a_producer(cluster: ClusterProcess) -> None:
    cluster.create_topic("shared", partition_count=3)
    offsets: list[tuple[int, int | None]] = []

    def work(number: int) -> None:
        mine = [producer.send("shared", b"%d-%04d" % (number, each)) for each in range(2_000)]
        many = producer.send_many(
            "shared", [b"%d-%04d" % (number, each) for each in range(2_000, 4_000)]
        )
        receipts = [delivery.result() for delivery in mine] + many.result()
        offsets.extend((receipt.partition, receipt.offset) for receipt in receipts)

    with blocking.Producer(cluster.bootstrap) as producer:
        threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(set(offsets)) == len(offsets) == 24_000
    found = [values_in(cluster, "shared", partition) for partition in range(3)]
    assert sorted(value for values in found for value in values) == sorted(
        b"%d-%04d" % (number, each) for number in range(6) for each in range(4_000)
    )
    for values in found:  # a thread's records keep their order within a partition
        for number in range(6):
            own = [value for value in values if value.startswith(b"%d-" % number)]
            assert own == sorted(own)


def test_what_cannot_be_sent_is_refused_where_it_is_sent(
    cluster: ClusterProcess, topic: str
) -> None:
    producer = blocking.Producer(cluster.bootstrap)
    with pytest.raises(InvalidRequest, match="not open yet"):
        _ = producer.send(topic, b"early")
    with producer:
        cases: list[tuple[Callable[[], object], type[OttlaError]]] = [
            (lambda: producer.send("bad/name", b""), InvalidTopic),
            (lambda: producer.send("missing", b""), UnknownTopicOrPartition),
            (lambda: producer.send(topic, b"", partition=1), UnknownTopicOrPartition),
            (lambda: producer.send(topic, b"x" * (1 << 20)), RecordTooLarge),
            (lambda: producer.send(topic, "text"), InvalidRequest),  # type: ignore[arg-type]  # wrong on purpose
            (lambda: producer.send(topic, b"", key=5), InvalidRequest),  # type: ignore[arg-type]  # wrong on purpose
            (lambda: producer.send(topic, b"", timestamp_ms=-5), InvalidRequest),
            (lambda: producer.send_many(topic, [b"first", 5]), InvalidRequest),  # type: ignore[list-item]  # wrong on purpose
            (lambda: producer.send_many(topic, [b"second", b"x" * (1 << 20)]), RecordTooLarge),
            (lambda: producer.send_many("missing", [b""]), UnknownTopicOrPartition),
        ]
        for sending, expected in cases:
            with pytest.raises(expected):
                sending()
    with pytest.raises(InvalidRequest, match="closed"):
        _ = producer.send(topic, b"late")
    with pytest.raises(InvalidRequest, match="opened once"):
        producer.open()
    producer.close()
    assert values_in(cluster, topic) == [b"first", b"second"]  # what stood before the bad ones


def test_values_are_serialized_before_send_returns(cluster: ClusterProcess, topic: str) -> None:
    value: list[Any] = ["first"]
    with blocking.Producer(
        cluster.bootstrap,
        key_serializer=str.encode,
        value_serializer=lambda words: " ".join(words).encode(),
    ) as producer:
        _ = producer.send(topic, value, key="k")
        value[0] = "second"
        _ = producer.send_many(topic, [value, ("k", value)])
        with pytest.raises(InvalidRequest, match="can't be serialized"):
            _ = producer.send(topic, [5])
    assert values_in(cluster, topic) == [b"first", b"second", b"second"]


class Watching:
    """An interceptor that marks records and remembers who called it."""

    def __init__(self) -> None:
        self.senders: set[str] = set()
        self.tellers: set[str] = set()
        self.record_count = 0

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        self.senders.add(threading.current_thread().name)
        assert record.value is not None
        return record._replace(value=record.value + b"!")

    def on_done(self, topic: str, partition: int, *, first: Any, error: Any) -> None:
        self.tellers.add(threading.current_thread().name)
        self.record_count += 1


def test_interceptors_see_each_record_once_in_the_callers_thread(
    cluster: ClusterProcess, topic: str
) -> None:
    watching = Watching()
    with blocking.Producer(cluster.bootstrap, interceptors=[watching]) as producer:
        _ = producer.send(topic, b"a")
        assert len(producer.send_many(topic, [b"b", (b"k", b"c")]).result()) == 3 - 1
    assert watching.senders == {threading.current_thread().name}
    assert watching.tellers == {THREAD_NAME}
    assert values_in(cluster, topic) == [b"a!", b"b!", b"c!"]


def test_a_thousand_records_wake_the_loop_once(
    cluster: ClusterProcess, topic: str, crossings: list[None]
) -> None:
    """The loop is kept busy meanwhile; a record then costs no crossing of its own."""
    busy, go_on = threading.Event(), threading.Event()
    with blocking.Producer(cluster.bootstrap) as producer:
        producer.send(topic, b"known").result()

        async def keep_busy() -> None:
            busy.set()
            while not go_on.is_set():
                pass

        keeper = threading.Thread(target=lambda: producer._call(keep_busy))
        keeper.start()
        busy.wait()
        crossings.clear()
        deliveries = [producer.send(topic, b"v") for _ in range(1_000)]
        portions = producer.send_many(topic, [b"w" * 100] * 20_000)
        assert len(crossings) == 1
        go_on.set()
        keeper.join()
        assert [each.result().offset for each in deliveries] == list(range(1, 1_001))
        assert len(portions.result()) == 20_000


def test_a_failure_nobody_waits_for_is_told_to_on_error_and_flush(cluster: ClusterProcess) -> None:
    cluster.create_topic("small", configs={"max.message.bytes": "1024"})
    told: list[tuple[type[OttlaError], str]] = []

    def on_error(error: OttlaError) -> None:
        told.append((type(error), threading.current_thread().name))

    with blocking.Producer(cluster.bootstrap, on_error=on_error) as producer:
        _ = producer.send("small", b"x" * 2_000)
        with pytest.raises(RecordTooLarge, match="1 records could not be delivered"):
            producer.flush()
        with pytest.raises(RecordTooLarge) as caught:
            producer.send("small", b"y" * 2_000).result()
        with pytest.raises(RecordTooLarge):
            producer.send_many("small", [b"fits", b"z" * 2_000]).result()
        producer.flush()  # told already, once each
    assert set(told) == {(RecordTooLarge, THREAD_NAME)}
    assert (caught.value.topic, caught.value.partition) == ("small", 0)


def test_a_blocking_call_from_a_callback_is_refused_instead_of_hanging(
    cluster: ClusterProcess,
) -> None:
    cluster.create_topic("small-too", configs={"max.message.bytes": "1024"})
    refused: list[str] = []

    def on_error(error: OttlaError) -> None:
        try:
            producer.flush()
        except InvalidRequest as failed:
            refused.append(failed.message)
        producer.send("small-too", b"instead")  # waits for nothing, so it may

    with blocking.Producer(cluster.bootstrap, on_error=on_error) as producer:
        _ = producer.send("small-too", b"x" * 2_000)
        with pytest.raises(RecordTooLarge):
            producer.flush()
    assert len(refused) == 1
    assert "would wait for itself" in refused[0]
    assert values_in(cluster, "small-too") == [b"instead"]


def test_closing_from_a_callback_is_refused_and_the_producer_stays_open(
    cluster: ClusterProcess, topic: str
) -> None:
    refused: list[str] = []

    class Closing:
        def on_send(self, record: PreparedRecord) -> PreparedRecord:
            return record

        def on_done(self, *_: object, **__: object) -> None:
            try:
                producer.close()
            except InvalidRequest as failed:
                refused.append(failed.message)

    with blocking.Producer(cluster.bootstrap, interceptors=[Closing()]) as producer:
        assert [producer.send(topic, b"v").result().offset for _ in range(2)] == [0, 1]
    assert len(refused) == 2
    assert "would wait for itself" in refused[0]
    assert THREAD_NAME not in {each.name for each in threading.enumerate()}


def test_leaving_by_an_exception_waits_for_nothing_and_keeps_the_exception(
    cluster: ClusterProcess, topic: str, caplog: pytest.LogCaptureFixture
) -> None:
    with ottla.testing.cluster(topics={"flights": 1}) as other:
        producer = blocking.Producer(other.bootstrap)
        with pytest.raises(KeyError, match="mine") as caught, producer:
            producer.send("flights", b"known").result()
            other.broker.kill()
            deliveries = [producer.send("flights", b"v") for _ in range(3)]
            raise KeyError("mine")
        assert "lost records" in caught.value.__notes__[0]
        assert "3 records not acknowledged" in caplog.text
        for delivery in deliveries:
            with pytest.raises(OttlaError):
                delivery.result()
        other.broker.start()


def endless() -> Iterator[bytes]:
    while True:
        yield b"x" * 1_000


@pytest.mark.slow
def test_the_buffer_bounds_what_is_handed_over_too() -> None:
    with (
        ottla.testing.cluster(topics={"flights": 1}) as cluster,
        blocking.Producer(
            cluster.bootstrap, buffer_bytes=64_000, batch_bytes_max=8_000, max_block_ms=200
        ) as producer,
    ):
        producer.send("flights", b"known").result()
        cluster.broker.kill()
        waiting = []
        with pytest.raises(BufferFull):
            while True:
                waiting.append(producer.send("flights", b"x" * 1_000))
        assert 30 <= len(waiting) <= 64
        with pytest.raises(BufferFull):
            _ = producer.send_many("flights", endless())
        with pytest.raises(TimeoutError):
            waiting[0].result(timeout_ms=1)
        cluster.broker.start()
        producer.flush()
        offsets = [delivery.result().offset or 0 for delivery in waiting]
        assert offsets == sorted(offsets)
        assert producer.send("flights", b"room again").result().offset is not None
