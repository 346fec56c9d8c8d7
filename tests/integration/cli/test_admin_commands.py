"""Commands that operate a running platform: alter, configs, delete-records, directories, export."""

from __future__ import annotations

import os
import pty
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integration.controller.controller_process import ControllerProcess

from .arrangement import WAIT_SECONDS, Up, run_ottla

pytestmark = pytest.mark.slow


def settings(platform: Up, *words: str) -> dict[str, Any]:
    """Settings of a resource by name."""
    found = platform.ottla("configs", "describe", *words, "--output", "json").document
    return {each["name"]: each for each in found["settings"]}


def test_a_topic_grows_and_its_settings_change_while_everything_runs(
    platform: Up, new_topic: Callable[..., str]
) -> None:
    name = new_topic(1)
    words = ("--partitions", "3", "--set", "max.message.bytes=1024", "--set", "retention.ms=7000")
    altered = platform.ottla("topics", "alter", name, *words)
    assert altered.err == (
        f"Altered {name}: 3 partitions, max.message.bytes=1024, retention.ms=7000\n"
    )
    described = platform.ottla("topics", "describe", name, "-o", "json").document
    assert [each["leader"] for each in described["partitions"]] == [1, 1, 1]
    assert described["configs"] == {"max.message.bytes": "1024", "retention.ms": "7000"}
    large = b"x" * 3_000 + b"\n"
    refused = platform.ottla("produce", name, stdin=large, code=1)
    assert "max.message.bytes" in refused.err
    document = platform.ottla(
        *("topics", "alter", name, "--unset", "max.message.bytes", "-o", "json")
    ).document
    assert (document["unset"], document["partition_count"]) == (["max.message.bytes"], None)
    platform.ottla("produce", name, stdin=large)


def test_what_is_wrong_with_one_change_leaves_the_other_undone(
    platform: Up, new_topic: Callable[..., str]
) -> None:
    name = new_topic(2)
    platform.ottla("topics", "alter", name, "--partitions", "1", "--set", "segment.ms=5", code=1)
    platform.ottla("topics", "alter", name, "--partitions", "4", "--set", "segment.ms=x", code=1)
    platform.ottla("topics", "alter", name, "--partitions", "4", "--validate-only")
    described = platform.ottla("topics", "describe", name, "-o", "json").document
    assert (described["partition_count"], described["configs"]) == (2, {})


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["topics", "alter", "none", "--partitions", "2"], 3, "none"),
        (["topics", "alter", "none", "--set", "retention.ms=1"], 3, "none"),
        (["configs", "describe", "topic", "none"], 3, "none"),
        (["configs", "describe", "broker", "77"], 1, "77"),
        (["configs", "alter", "cluster", "--set", "retention.m=1"], 1, "retention.ms"),
        (["configs", "alter", "cluster", "--append", "retention.ms=1"], 1, "list"),
        (["topics", "delete-records", "none", "--before", "1", "--yes"], 3, "none"),
    ],
)
def test_what_cannot_be_done_has_its_exit_code_and_says_why(
    platform: Up, words: list[str], code: int, said: str
) -> None:
    done = platform.ottla(*words, code=code)
    assert said in done.err
    assert done.out == b""


def test_settings_are_shown_with_their_sources_and_altered(
    platform: Up, new_topic: Callable[..., str]
) -> None:
    name = new_topic()
    assert settings(platform, "topic", name) == {}
    altered = platform.ottla("configs", "alter", "cluster", "--set", "segment.ms=60000")
    assert altered.err == "Altered the cluster: segment.ms=60000\n"
    platform.ottla("configs", "alter", "broker", "1", "--set", "segment.ms=50000")
    of_broker = settings(platform, "broker", "1")
    assert (of_broker["segment.ms"]["value"], of_broker["segment.ms"]["source"]) == (
        "50000",
        "broker",
    )
    assert [each["source"] for each in of_broker["segment.ms"]["synonyms"]] == [
        "cluster",
        "default",
    ]
    assert of_broker["data.dir"]["source"] == "static"
    assert not of_broker["data.dir"]["dynamic"]
    assert "retention.ms" not in of_broker
    assert settings(platform, "broker", "1", "--all")["retention.ms"]["source"] == "default"
    only = settings(platform, "broker", "1", "--setting", "retention.ms", "-s", "node.id")
    assert [*only] == ["node.id", "retention.ms"]
    table = platform.ottla("configs", "describe", "cluster")
    assert table.lines[0].split() == ["SETTING", "VALUE", "SOURCE", "DYNAMIC", "OTHERWISE"]
    assert table.lines[2].split()[:4] == ["segment.ms", "60000", "cluster", "yes"]
    assert "--all" in table.err
    for resource in (["cluster"], ["broker", "1"]):
        platform.ottla("configs", "alter", *resource, "--unset", "segment.ms")
    assert settings(platform, "cluster") == {}


def test_a_version_that_passed_is_a_conflict(platform: Up, new_topic: Callable[..., str]) -> None:
    name = new_topic()
    found = platform.ottla("configs", "describe", "topic", name, "-o", "json").document
    words = ("configs", "alter", "topic", name, "--expected-version", str(found["version"]))
    platform.ottla(*words, "--set", "segment.ms=5")
    platform.ottla(*words, "--set", "segment.ms=6", code=1)
    assert settings(platform, "topic", name)["segment.ms"]["value"] == "5"


def test_records_are_deleted_from_one_partition_or_all(
    platform: Up, new_topic: Callable[..., str]
) -> None:
    name = new_topic(2)
    for partition in ("0", "1"):
        platform.ottla("produce", name, "-p", partition, stdin=b"a\nb\nc\n")
    words = ("topics", "delete-records", f"{name}:1", "--before", "2", "--yes")
    table = platform.ottla(*words)
    assert table.lines[2].split() == [name, "1", "2"]
    kept = platform.ottla("consume", name, "--from-beginning", "--until-end", "--print-offset")
    assert sorted(kept.lines) == ["0\ta", "1\tb", "2\tc", "2\tc"]
    document = platform.ottla(
        *("topics", "delete-records", name, "--before", "end", "--yes", "-o", "json")
    ).document
    assert [(each["partition"], each["log_start_offset"]) for each in document] == [(0, 3), (1, 3)]
    beyond = platform.ottla("topics", "delete-records", f"{name}:0", "--before", "9", "-y", code=1)
    assert f"{name}:0: " in beyond.err
    assert "holds offsets 3 up to" in beyond.err


@pytest.mark.parametrize(("answer", "code", "left"), [(b"n\n", 1, 1), (b"y\n", 0, 0)])
def test_delete_records_asks_at_a_terminal(
    platform: Up, new_topic: Callable[..., str], answer: bytes, code: int, left: int
) -> None:
    name = new_topic()
    platform.ottla("produce", name, stdin=b"a\n")
    ours, theirs = pty.openpty()
    os.write(ours, answer)
    words = ("topics", "delete-records", name, "--before", "end")
    with platform.start_ottla(*words, stdin=theirs) as process:
        _, err = process.communicate(timeout=WAIT_SECONDS)
    os.close(ours)
    os.close(theirs)
    assert process.returncode == code
    assert f"Delete all records of {name}?" in err.decode()
    kept = platform.ottla("consume", name, "--from-beginning", "--until-end")
    assert len(kept.lines) == left


def test_log_directories_are_shown(platform: Up, new_topic: Callable[..., str]) -> None:
    name = new_topic()
    platform.ottla("produce", name, stdin=b"a\nb\n")
    (found,) = platform.ottla("cluster", "directories", "-o", "json").document
    assert (found["node_id"], found["online"], found["error"]) == (1, True, None)
    assert found["path"] == str(platform.data / "broker-1" / "logs")
    assert 0 < found["free_bytes"] < found["total_bytes"]
    (replica,) = (each for each in found["replicas"] if each["topic"] == name)
    assert (replica["log_start_offset"], replica["log_end_offset"]) == (0, 2)
    assert replica["size_bytes"] > 0
    table = platform.ottla("cluster", "directories", "--replicas", "--broker", "1").lines
    assert table[2].split()[:3] == ["1", "online", found["path"]]
    assert any(line.split()[:3] == [name, "0", "1"] for line in table)
    missing = platform.ottla("cluster", "directories", "--broker", "9", code=1)
    assert "there is no broker 9" in missing.err


def test_an_export_is_a_whole_file_or_none(
    platform: Up, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    name = new_topic(2)
    file = tmp_path / "metadata"
    done = platform.ottla("cluster", "export", str(file))
    assert done.out == b""
    assert done.err.startswith("Exported ")
    assert f"to {file}" in done.err
    assert name.encode() in file.read_bytes()
    assert [*tmp_path.iterdir()] == [file]
    piped = platform.ottla("cluster", "export", "--quiet")
    assert (name.encode() in piped.out, piped.err) == (True, "")
    nowhere = tmp_path / "no" / "such" / "folder"
    platform.ottla("cluster", "export", str(nowhere), code=1)
    document = platform.ottla("cluster", "export", str(file), "-o", "json").document
    assert document["records"]["topics"] >= 1
    platform.ottla("cluster", "export", "/dev/null")
    assert Path("/dev/null").is_char_device()
    platform.ottla("cluster", "export", str(tmp_path), code=1)
    link = tmp_path / "link"
    link.symlink_to(file)
    platform.ottla("cluster", "export", str(link))
    assert link.is_symlink()
    refused = run_ottla("cluster", "export", str(file), "-b", "127.0.0.1:1", code=4)
    assert "no broker answers" in refused.err
    assert file.stat().st_size > 0


def test_an_import_goes_into_an_empty_cluster_only(
    platform: Up, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    new_topic()
    file = tmp_path / "metadata"
    platform.ottla("cluster", "export", str(file))
    refused = platform.ottla("cluster", "import", str(file), code=1)
    assert "import goes into a cluster without any" in refused.err
    file.write_bytes(file.read_bytes()[:-1])
    half = platform.ottla("cluster", "import", str(file), code=1)
    assert "nothing was imported" in half.err
    garbage = platform.ottla("cluster", "import", stdin=b"certainly no export", code=1)
    assert "standard input" in garbage.err
    platform.ottla("cluster", "import", str(tmp_path / "none"), code=1)
    platform.ottla("cluster", "import", stdin=b"", code=1)


def test_an_empty_controller_takes_an_export_before_any_broker_serves(
    platform: Up, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    name = new_topic(2)
    file, again = tmp_path / "metadata", tmp_path / "again"
    exported = platform.ottla("cluster", "export", str(file), "-o", "json").document
    controller = ControllerProcess(tmp_path / "controller")
    try:
        port = controller.ready()["port"]
        words = ("--controller", f"127.0.0.1:{port}", "--bootstrap", "127.0.0.1:1")
        imported = run_ottla("cluster", "import", *words, stdin=file.read_bytes())
        assert imported.err.startswith("Imported ")
        kept = run_ottla("cluster", "export", str(again), *words, "-o", "json").document
        assert kept == exported
        assert name.encode() in again.read_bytes()
    finally:
        controller.end()


def test_controllers_are_asked_themselves_where_no_broker_serves(
    platform: Up, new_topic: Callable[..., str], tmp_path: Path
) -> None:
    new_topic()
    (controller,) = platform.ottla("cluster", "describe", "-o", "json").document["controllers"]
    (endpoint,) = controller["endpoints"]
    assert controller["active"]
    file = tmp_path / "metadata"
    words = ("--controller", f"127.0.0.1:{endpoint['port']}", "--bootstrap", "127.0.0.1:1")
    run_ottla("cluster", "export", str(file), *words)
    refused = run_ottla("cluster", "import", str(file), *words, code=1)
    assert "import goes into a cluster without any" in refused.err
    run_ottla("cluster", "export", str(file), "--controller", "127.0.0.1:1", code=4)
