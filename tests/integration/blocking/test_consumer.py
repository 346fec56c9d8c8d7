"""The blocking consumer: what `ottla.Consumer` promises, to callers in threads."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice

import pytest
from integration.blocking.cluster_process import ClusterProcess

from ottla import blocking
from ottla.protocol.errors import InvalidRequest, UnknownTopicOrPartition


@pytest.fixture(scope="module")
def filled(cluster: ClusterProcess) -> ClusterProcess:
    """`numbers` holds 0 to 29,999 in three partitions, `few` 0 to 99 in one."""
    cluster.create_topic("numbers", partition_count=3)
    cluster.create_topic("few")
    cluster.create_topic("empty")
    with blocking.Producer(cluster.bootstrap) as producer:
        for partition in range(3):
            mine = range(partition, 30_000, 3)
            producer.send_many("numbers", [b"%05d" % each for each in mine], partition=partition)
        producer.send_many("few", [(b"k%d" % each, b"%d" % each) for each in range(100)])
    return cluster


@contextmanager
def reading(
    cluster: ClusterProcess, *topics: str, auto_offset_reset: str = "earliest"
) -> Iterator[blocking.Consumer[bytes, bytes]]:
    with blocking.Consumer(cluster.bootstrap, auto_offset_reset=auto_offset_reset) as consumer:
        consumer.assign(topics)
        yield consumer


def test_everything_is_consumed_once_in_order(
    filled: ClusterProcess, crossings: list[None]
) -> None:
    with reading(filled, "numbers") as consumer:
        crossings.clear()
        records = list(islice(consumer, 30_000))
        assert len(crossings) < 1_000
    assert sorted(record.value or b"" for record in records) == [b"%05d" % n for n in range(30_000)]
    for partition in range(3):
        offsets = [record.offset for record in records if record.partition == partition]
        assert offsets == list(range(10_000))


def test_batches_cross_threads_once_each(filled: ClusterProcess, crossings: list[None]) -> None:
    with reading(filled, "numbers") as consumer:
        crossings.clear()
        sizes: list[int] = []
        for batch in consumer.batches(max_records=5_000):
            sizes.append(len(batch))
            if sum(sizes) == 30_000:
                break
        assert len(crossings) == len(sizes)
        assert max(sizes) <= 5_000


def test_next_batch_waits_for_more_as_told_and_iterating_goes_on_behind_it(
    filled: ClusterProcess,
) -> None:
    with reading(filled, "few") as consumer:
        assert next(consumer).offset == 0
        batch = consumer.next_batch(max_records=9, max_wait_ms=5_000)
        assert [record.offset for record in batch] == list(range(1, 10))
        assert next(iter(consumer)).offset == 10
        with pytest.raises(InvalidRequest):
            consumer.next_batch(max_records=0)


def test_places_are_asked_for_and_gone_to(filled: ClusterProcess) -> None:
    with reading(filled, "few") as consumer:
        assert consumer.assignment() == [("few", 0)]
        assert consumer.beginning_offsets([("few", 0)]) == {("few", 0): 0}
        assert consumer.end_offsets([("few", 0)]) == {("few", 0): 100}
        assert next(consumer).offset == 0
        consumer.seek(("few", 0), 50)
        assert [record.offset for record in islice(consumer, 3)] == [50, 51, 52]
        assert consumer.position(("few", 0)) == 53
        consumer.seek_to_last(1)
        assert next(consumer).offset == 99
        consumer.seek_to_beginning()
        consumer.pause(("few", 0))
        assert consumer.paused() == [("few", 0)]
        consumer.resume()
        assert next(consumer).offset == 0
        found = consumer.offsets_for_times({("few", 0): 2**40 * 4})
        assert found == {("few", 0): None}
        with pytest.raises(UnknownTopicOrPartition):
            consumer.assign(["missing"])


def test_threads_that_iterate_share_the_records(filled: ClusterProcess) -> None:
    taken: list[bytes] = []

    def take(count: int) -> None:
        taken.extend(record.value or b"" for record in islice(consumer, count))

    with reading(filled, "numbers") as consumer:
        threads = [threading.Thread(target=take, args=(7_500,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(taken) == [b"%05d" % number for number in range(30_000)]


def test_another_thread_moves_and_closes_a_consumer_that_waits(filled: ClusterProcess) -> None:
    found: list[int] = []
    ended: list[str] = []

    def wait() -> None:
        try:
            for record in consumer:
                found.append(record.offset)
                seen.set()
        except InvalidRequest as error:
            ended.append(error.message)

    seen = threading.Event()
    with reading(filled, "few", auto_offset_reset="latest") as consumer:
        waiter = threading.Thread(target=wait)
        waiter.start()
        assert consumer.position(("few", 0)) == 100
        consumer.seek(("few", 0), 99)
        assert seen.wait(20)
    waiter.join()
    assert found == [99]
    assert "closed" in ended[0]


def test_keys_and_values_are_deserialized(filled: ClusterProcess) -> None:
    with blocking.Consumer(
        filled.bootstrap,
        key_deserializer=bytes.decode,
        value_deserializer=int,
        auto_offset_reset="earliest",
    ) as consumer:
        consumer.assign([("few", 0)])
        assert [(each.key, each.value) for each in islice(consumer, 2)] == [("k0", 0), ("k1", 1)]


def test_reading_and_closing_from_a_callback_is_refused_instead_of_hanging(
    filled: ClusterProcess,
) -> None:
    uses: list[Callable[[], object]] = [
        lambda: next(consumer),
        lambda: consumer.next_batch(max_records=1),
        lambda: consumer.seek(("few", 0), 0),
        lambda: consumer.__exit__(None, None, None),
    ]
    refused: list[str] = []

    def deserialize(data: bytes) -> bytes:
        while uses:
            with pytest.raises(InvalidRequest) as caught:
                uses.pop(0)()
            refused.append(caught.value.message)
        return data

    with blocking.Consumer(
        filled.bootstrap,
        key_deserializer=bytes,
        value_deserializer=deserialize,
        auto_offset_reset="earliest",
    ) as consumer:
        consumer.assign([("few", 0)])
        assert [each.offset for each in islice(consumer, 2)] == [0, 1]
    assert len(refused) == 4
    assert all("would wait for itself" in each for each in refused)


def test_a_callback_waits_for_no_thread_that_waits_for_the_callback(
    filled: ClusterProcess,
) -> None:
    refused: list[str] = []

    def deserialize(data: bytes) -> bytes:
        if not refused:
            seeker.start()
            while not consumer._handing.locked():  # the other thread waits for us from here on
                continue
            with pytest.raises(InvalidRequest) as caught:
                consumer.seek_to_beginning()
            refused.append(caught.value.message)
        return data

    with blocking.Consumer(
        filled.bootstrap,
        key_deserializer=bytes,
        value_deserializer=deserialize,
        auto_offset_reset="earliest",
    ) as consumer:
        seeker = threading.Thread(target=lambda: consumer.seek(("few", 0), 50))
        consumer.assign([("few", 0)])
        reader = threading.Thread(target=lambda: next(consumer))
        reader.start()
        reader.join()
        seeker.join()
        assert next(consumer).offset in {50, 51}
    assert "would wait for itself" in refused[0]


def interrupt() -> None:
    """As Ctrl-C does: the main thread gets it, whatever it waits for."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


@pytest.mark.parametrize("reads_batches", [False, True])
def test_interrupted_while_it_waits_a_consumer_loses_nothing_and_goes_on(
    filled: ClusterProcess, monkeypatch: pytest.MonkeyPatch, reads_batches: bool
) -> None:
    with reading(filled, "empty" if reads_batches else "few", auto_offset_reset="latest") as reader:
        wait = reader._inner._fetching.wait
        interruptions = [interrupt]

        async def interrupted_wait() -> None:
            if interruptions:
                interruptions.pop()()  # the main thread waits for us now
            await wait()

        monkeypatch.setattr(reader._inner._fetching, "wait", interrupted_wait)
        with pytest.raises(KeyboardInterrupt):
            _ = reader.next_batch() if reads_batches else next(reader)
        assert interruptions == []
        with blocking.Producer(filled.bootstrap) as producer:
            topic = "empty" if reads_batches else "few"
            offset = reader.position((topic, 0))
            assert producer.send(topic, b"after").result().offset == offset
        assert next(reader).offset == offset


def test_records_that_come_too_late_for_who_was_interrupted_are_handed_out_next(
    filled: ClusterProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    with reading(filled, "few") as consumer:
        next_batch = consumer._inner.next_batch

        async def interrupting(**limits: int) -> object:
            batch = await next_batch(**limits)
            interrupt()
            return batch

        with monkeypatch.context() as patched:
            patched.setattr(consumer._inner, "next_batch", interrupting)
            with pytest.raises(KeyboardInterrupt):
                for _ in range(1_000):  # the interrupt comes between two bytecodes
                    consumer.seek_to_beginning()
                    consumer.next_batch(max_records=10)
        assert next(consumer).offset in {0, 10}
