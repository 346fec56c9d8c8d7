"""Ctrl-C in a thread that waits for a client: the client goes on, and can be closed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import pytest
from integration.blocking.cluster_process import ClusterProcess
from integration.blocking.programs import run

import ottla.testing
from ottla import blocking
from ottla.blocking.loop_thread import LoopThread
from ottla.protocol.errors import InvalidRequest, OttlaError


def interrupt() -> None:
    """As Ctrl-C does: the main thread gets it, whatever it waits for."""
    main = threading.main_thread().ident
    assert main is not None
    signal.pthread_kill(main, signal.SIGINT)


def interrupt_soon(producer: blocking.Producer[bytes, bytes]) -> None:
    """Interrupt the main thread as soon as the client's loop comes to it."""

    async def work() -> None:
        interrupt()

    threading.Thread(target=lambda: producer._call(work)).start()


@pytest.mark.slow
def test_whatever_a_producer_waits_for_can_be_interrupted() -> None:
    with ottla.testing.cluster(topics={"flights": 1}) as cluster:
        producer = blocking.Producer(
            cluster.bootstrap, buffer_bytes=200_000, batch_bytes_max=100_000
        )
        producer.open()
        producer.send("flights", b"known").result()
        cluster.broker.kill()
        waiting = producer.send("flights", b"waits")
        uses: list[Callable[[], object]] = [
            waiting.result,
            producer.flush,
            lambda: producer.send_many("flights", [b"v" * 1_000] * 1_000),
            lambda: [producer.send("flights", b"v" * 1_000) for _ in range(1_000)],
        ]
        for use in uses:
            with pytest.raises(KeyboardInterrupt):
                interrupt_soon(producer)
                use()
        assert not waiting.done()
        cluster.broker.start()
        producer.flush()
        assert waiting.result().offset == 1
        assert producer.send("flights", b"after").result().topic == "flights"
        producer.close()


@pytest.mark.slow
@pytest.mark.parametrize("has_begun", [True, False])
def test_closing_that_is_interrupted_gives_up_what_is_left(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch, has_begun: bool
) -> None:
    with ottla.testing.cluster(topics={"flights": 1}) as cluster:
        producer = blocking.Producer(cluster.bootstrap)
        producer.open()
        producer.send("flights", b"known").result()
        cluster.broker.kill()
        lost = [producer.send("flights", b"lost") for _ in range(3)]
        if has_begun:
            sending = producer._inner._sending
            flush_within = sending._flush_within

            async def interrupted_flush(timeout_ms: int) -> None:
                interrupt()
                await flush_within(timeout_ms)

            monkeypatch.setattr(sending, "_flush_within", interrupted_flush)
        else:
            crossings = iter([interrupt])
            post = LoopThread.post

            def interrupted_post(thread: LoopThread, callback: Callable[[], object]) -> None:
                for each in crossings:
                    each()
                post(thread, callback)

            monkeypatch.setattr(LoopThread, "post", interrupted_post)
        with pytest.raises(KeyboardInterrupt):
            producer.close()
        assert "3 records not acknowledged" in caplog.text
        for delivery in lost:
            with pytest.raises(OttlaError):
                delivery.result()
        with pytest.raises(InvalidRequest, match="closed"):
            _ = producer.send("flights", b"late")
        producer.close()
        cluster.broker.start()


READ_UNTIL_INTERRUPTED = """
with ottla.blocking.Consumer(bootstrap) as consumer, ottla.blocking.Producer(bootstrap) as producer:
    consumer.assign(["interrupted"])
    consumer.position(("interrupted", 0))
    try:
        print("reading", flush=True)
        for record in consumer:
            print("nothing should come")
    except KeyboardInterrupt:
        print("interrupted")
    producer.send("interrupted", b"v").result()
    print(next(consumer).value)
print([each.name for each in threading.enumerate() if each.name.startswith("ottla")])
"""


@pytest.mark.slow
def test_a_program_that_reads_goes_on_after_ctrl_c(cluster: ClusterProcess) -> None:
    cluster.create_topic("interrupted")
    ended = run(
        READ_UNTIL_INTERRUPTED,
        cluster.bootstrap,
        meanwhile=lambda process_id: os.kill(process_id, signal.SIGINT),
    )
    assert ended.lines == ["reading", "interrupted", "b'v'", "[]"]
    assert (ended.code, ended.errors) == (0, "")
