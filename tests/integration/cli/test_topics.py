"""`ottla topics` and `ottla cluster` against a real platform."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable

import pytest

from .arrangement import WAIT_SECONDS, Up, run_ottla

pytestmark = pytest.mark.slow


def test_topic_is_created_listed_described_and_deleted(platform: Up, topic_name: str) -> None:
    created = platform.ottla(
        *("topics", "create", topic_name, "--partitions", "3"),
        *("--config", "retention.ms=1000", "--output", "json"),
    ).document
    assert [(each["name"], each["partition_count"]) for each in created] == [(topic_name, 3)]
    listed = platform.ottla("topics", "list", "--prefix", topic_name, "-o", "json").document
    assert [each["topic_id"] for each in listed] == [created[0]["topic_id"]]
    described = platform.ottla("topics", "describe", topic_name, "--output", "json").document
    assert [(each["partition"], each["leader"]) for each in described["partitions"]] == [
        (0, 1),
        (1, 1),
        (2, 1),
    ]
    assert described["configs"] == {"retention.ms": "1000"}
    platform.ottla("topics", "delete", topic_name, "--yes")
    assert platform.ottla("topics", "list", "--prefix", topic_name, "-o", "json").document == []


def test_tables_name_topics_and_leaders(platform: Up, new_topic: Callable[..., str]) -> None:
    name = new_topic(2)
    listed = platform.ottla("topics", "list", "--prefix", name)
    assert listed.lines[0].split() == ["TOPIC", "PARTITIONS", "REPLICAS"]
    assert listed.lines[2].split() == [name, "2", "1"]
    described = platform.ottla("topics", "describe", name).lines
    assert described[0].startswith(f"{name}  (2 partitions, 1 replica each")
    assert described[3].split() == ["0", "1", "1", "1", "1", "–"]


def test_create_repeated_succeeds_if_alike_and_fails_if_not(
    platform: Up, new_topic: Callable[..., str]
) -> None:
    name = new_topic(2)
    platform.ottla("topics", "create", name, "--partitions", "2")
    other = platform.ottla("topics", "create", name, "--partitions", "3", code=1)
    assert f"ottla: {name}: " in other.err
    platform.ottla("topics", "create", name, "--partitions", "3", "--if-not-exists")


def test_good_topics_are_created_beside_bad_ones(platform: Up, topic_name: str) -> None:
    taken = f"{topic_name}-taken"
    platform.ottla("topics", "create", taken, "--partitions", "2")
    words = ("topics", "create", topic_name, taken, "--partitions", "3", "-o", "json")
    done = platform.ottla(*words, code=1)
    assert [each["name"] for each in done.document] == [topic_name]
    assert f"ottla: {taken}: " in done.err


def test_validate_only_creates_nothing(platform: Up, topic_name: str) -> None:
    platform.ottla("topics", "create", topic_name, "--validate-only")
    platform.ottla("topics", "describe", topic_name, code=3)


@pytest.mark.parametrize("command", [["describe"], ["delete", "--yes"]], ids=["describe", "delete"])
def test_topic_that_is_not_there_exits_with_3(platform: Up, command: list[str]) -> None:
    done = platform.ottla("topics", *command, "no-such-topic", code=3)
    assert done.out == b""
    assert "no-such-topic" in done.err


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
def test_delete_asks_at_a_terminal(
    platform: Up, new_topic: Callable[..., str], answer: bytes, code: int, left: int
) -> None:
    name = new_topic()
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    with platform.start_ottla("topics", "delete", name, stdin=theirs) as process:
        _, err = process.communicate(timeout=WAIT_SECONDS)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert f"Delete {name} with all records?" in err.decode()
    listed = platform.ottla("topics", "list", "--prefix", name, "-o", "json").document
    assert len(listed) == left


def test_cluster_is_described(platform: Up) -> None:
    cluster = platform.ottla("cluster", "describe", "--output", "json").document
    (broker,) = cluster["brokers"]
    assert (broker["node_id"], broker["state"]) == (1, "active")
    (endpoint,) = broker["endpoints"]
    assert f"{endpoint['host']}:{endpoint['port']}" == platform.bootstrap
    assert [each["active"] for each in cluster["controllers"]] == [True]
    assert cluster["metadata_store"] == "sqlite"
    table = platform.ottla("cluster", "describe").lines
    assert table[0].startswith(f"Cluster {cluster['cluster_id']}")
    assert any(platform.bootstrap in line for line in table)


def test_no_broker_exits_with_4_and_says_what_to_do() -> None:
    done = run_ottla("topics", "list", "--bootstrap", "127.0.0.1:1", code=4)
    assert "no broker answers at 127.0.0.1:1: Connection refused" in done.err
    assert "`ottla up` starts a platform" in done.err
    assert done.out == b""
