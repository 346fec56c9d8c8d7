"""`ottla perf` against a real platform: what is counted is right, and nothing is left behind."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from .arrangement import WAIT_SECONDS, Up, start_ottla

pytestmark = pytest.mark.slow

NewTopic = Callable[..., str]


def _perf(platform: Up, *arguments: str) -> dict[str, Any]:
    document: dict[str, Any] = platform.ottla("perf", *arguments, "-o", "json").document
    return document


def _temporary(platform: Up) -> list[str]:
    listed = platform.ottla("topics", "list", "--prefix", "ottla-perf-", "-o", "json").document
    return [each["name"] for each in listed]


def _ordered(latency: dict[str, float]) -> list[float]:
    return [latency[name] for name in ("min", "p50", "p90", "p99", "p99_9", "max")]


@pytest.mark.parametrize("how", [[], ["--one-by-one"]], ids=["many", "one by one"])
def test_every_record_that_is_counted_is_in_the_topic(
    platform: Up, new_topic: NewTopic, how: list[str]
) -> None:
    topic = new_topic(2)
    found = _perf(platform, "produce", "-t", topic, "--records", "5001", "--size", "50", *how)
    assert (found["topic"], found["record_count"], found["size_bytes"]) == (topic, 5_001, 250_050)
    assert found["records_per_second"] == pytest.approx(5_001 / found["seconds"], rel=1e-3)
    assert _ordered(found["latency_ms"]) == sorted(_ordered(found["latency_ms"]))
    assert found["latency_ms"]["min"] > 0
    values = platform.ottla("consume", topic, "--from-beginning", "--until-end").lines
    assert len(values) == 5_001
    assert {len(value) for value in values} == {50}


def test_schedule_is_kept_and_every_record_sampled(platform: Up) -> None:
    found = _perf(platform, "produce", "--records", "300", "--throughput", "1000")
    assert found["latency_of"] == "schedule to acknowledgement"
    assert found["latency_ms"]["sample_count"] == 300
    assert found["seconds"] >= 0.299
    assert sum(bar["sample_count"] for bar in found["histogram"]) == 300


def test_producing_ends_after_its_seconds(platform: Up) -> None:
    found = _perf(
        *(platform, "produce", "--seconds", "0.3", "--acks", "none", "--compression", "lz4"),
        *("--linger-ms", "1", "--batch-bytes", "1000"),
    )
    assert found["seconds"] >= 0.3
    assert found["record_count"] > 0
    assert found["settings"]["linger_ms"] == 1
    assert found["settings"]["batch_bytes"] == 1_000
    assert (found["settings"]["acks"], found["settings"]["compression"]) == ("none", "lz4")


@pytest.mark.parametrize("how", [[], ["--one-by-one"]], ids=["batches", "one by one"])
def test_consuming_fills_a_topic_and_reads_all_of_it(platform: Up, how: list[str]) -> None:
    found = _perf(
        platform, "consume", "--records", "20000", "--size", "20", "--partitions", "3", *how
    )
    assert (found["record_count"], found["size_bytes"]) == (20_000, 400_000)
    assert (found["latency_ms"] is None) == bool(how)
    assert _temporary(platform) == []


@pytest.mark.parametrize("how", [[], ["--one-by-one"]], ids=["batches", "one by one"])
def test_consuming_reads_what_is_there_or_what_comes(
    platform: Up, new_topic: NewTopic, how: list[str]
) -> None:
    topic = new_topic(2)
    platform.ottla("produce", topic, "-k", "ab", stdin=b"cde\n" * 1_000)
    every = _perf(platform, "consume", "-t", topic, "--from-beginning", *how)
    assert (every["record_count"], every["size_bytes"]) == (1_000, 5_000)
    some = _perf(platform, "consume", "-t", topic, "--from-beginning", "-n", "10", *how)
    assert some["record_count"] == 10
    none = _perf(platform, "consume", "-t", topic, "--seconds", "0.2", *how)
    assert (none["record_count"], none["records_per_second"]) == (0, 0)


def test_latency_counts_what_came_after_the_warm_up(platform: Up) -> None:
    found = _perf(
        *(platform, "latency", "--seconds", "0.4", "--warmup", "0.2", "--throughput", "200"),
        *("--config", "flush.on.ack=false"),
    )
    assert found["record_count"] == 80
    assert found["latency_of"] == "schedule to user code"
    assert found["latency_ms"]["sample_count"] == 80
    assert _ordered(found["latency_ms"]) == sorted(_ordered(found["latency_ms"]))
    assert found["schedule_to_send_ms"]["sample_count"] == 80
    # No record is in user code before it was sent.
    assert found["latency_ms"]["min"] > found["schedule_to_send_ms"]["min"]
    assert found["settings"]["duplicates"] == 0
    assert found["settings"]["flush.on.ack"] == "false"
    assert _temporary(platform) == []


def test_latency_is_measured_beside_other_records(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic(2)
    platform.ottla("produce", topic, stdin=b"not of this run\n" * 100)
    found = _perf(platform, "latency", "-t", topic, "--seconds", "0.2", "--warmup", "0")
    assert found["record_count"] == 100


def test_table_is_for_people(platform: Up) -> None:
    done = platform.ottla("perf", "produce", "--records", "100", "--throughput", "1000")
    assert done.lines[0].startswith("perf produce ottla-perf-")
    assert "P99.9" in done.out.decode()
    assert "█" in done.out.decode()
    assert done.err == ""


def test_unknown_topic_exits_with_3(platform: Up) -> None:
    for kind in ("produce", "consume", "latency"):
        done = platform.ottla("perf", kind, "--topic", "no-such-topic", code=3)
        assert "no-such-topic" in done.err
        assert done.out == b""


def test_setting_that_topics_do_not_have_is_refused(platform: Up) -> None:
    done = platform.ottla("perf", "produce", "-c", "nonsense=1", code=1)
    assert "nonsense" in done.err
    assert _temporary(platform) == []


@pytest.mark.parametrize("kind", ["produce", "latency"])
def test_interrupt_leaves_no_topic_behind(platform: Up, kind: str) -> None:
    with platform.start_ottla("perf", kind, "--seconds", "60") as process:
        while not _temporary(platform) and process.poll() is None:
            os.sched_yield()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=WAIT_SECONDS)
    assert (process.returncode, out) == (130, b""), err
    assert b"Traceback" not in err
    assert _temporary(platform) == []


def test_progress_is_on_a_terminal_only_and_never_on_stdout(platform: Up) -> None:
    ours, theirs = pty.openpty()
    with start_ottla(
        *("perf", "produce", "--seconds", "0.5", "--throughput", "1000", "-o", "json"),
        stdin=subprocess.DEVNULL,
        stderr=theirs,
        OTTLA_BOOTSTRAP=platform.bootstrap,
        TERM="xterm-256color",
    ) as process:
        out, _ = process.communicate(timeout=WAIT_SECONDS)
    os.set_blocking(ours, False)
    shown = os.read(ours, 1_000_000)
    os.close(ours)
    os.close(theirs)
    assert b"records" in shown
    assert out.startswith(b"{")
    assert b"\x1b" not in out


def test_reading_half_says_nothing_once_nobody_listens() -> None:
    connection = {
        "bootstrap": "127.0.0.1:1",
        "tls": None,
        "timeout_seconds": 0.1,
        "output": "table",
    }
    plan = {
        "connection": connection,
        "run_id": "00" * 8,
        "warmup_count": 0,
        "record_count": 1,
        "topic": "flights",
    }
    with subprocess.Popen(
        [sys.executable, "-m", "ottla_cli.perf.latency_reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as reader:
        assert reader.stdin is not None
        assert reader.stdout is not None
        assert reader.stderr is not None
        reader.stdout.close()  # as the other half does when it is interrupted
        reader.stdin.write(json.dumps(plan) + "\n")
        reader.stdin.close()
        assert reader.stderr.read() == ""
        assert reader.wait(WAIT_SECONDS) == 1
