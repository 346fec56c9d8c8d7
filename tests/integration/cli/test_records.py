"""`ottla produce` and `ottla consume` against a real platform."""

from __future__ import annotations

import json
import signal
from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .arrangement import WAIT_SECONDS, Up, run_ottla

pytestmark = pytest.mark.slow

NewTopic = Callable[..., str]
ALL = ("--from-beginning", "--until-end")


@pytest.fixture(scope="module")
def ten(platform: Up) -> str:
    """A topic of ten records that tests only read."""
    platform.ottla("produce", "ten", stdin=b"".join(b"%d\n" % n for n in range(10)))
    return "ten"


@pytest.fixture(scope="module")
def two(platform: Up) -> str:
    """A topic of a tombstone without a key, and of a record that has everything."""
    platform.ottla("produce", "two", "--null-value", "NULL", stdin=b"NULL\n")
    platform.ottla("produce", "two", "-k", "UA", "-H", "source=faa", stdin=b"late\n")
    return "two"


def _records(platform: Up, topic: str, *options: str) -> list[dict[str, Any]]:
    return platform.ottla("consume", topic, "--format", "json", *(options or ALL)).documents


def test_lines_come_back_in_order(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    lines = [f"line {number}" for number in range(5_000)]
    platform.ottla("produce", topic, stdin="\n".join(lines).encode())
    assert platform.ottla("consume", topic, *ALL).lines == lines


def test_every_record_of_every_partition_comes_back_with_keys_in_order(
    platform: Up, new_topic: NewTopic, tmp_path: Path
) -> None:
    topic = new_topic(6)
    file = tmp_path / "flights.tsv"
    file.write_text("".join(f"carrier-{n % 16}\t{n}\n" for n in range(20_000)))
    summary = platform.ottla(
        *("produce", topic, "--file", str(file), "--key-separator", "\\t", "-o", "json")
    ).document
    assert (summary["topic"], summary["record_count"]) == (topic, 20_000)
    by_key = defaultdict(list)
    partitions = defaultdict(set)
    for record in _records(platform, topic):
        by_key[record["key"]].append(int(record["value"]))
        partitions[record["key"]].add(record["partition"])
    assert by_key == {f"carrier-{k}": list(range(k, 20_000, 16)) for k in range(16)}
    assert all(len(each) == 1 for each in partitions.values())
    assert sum(summary["partitions"].values()) == 20_000


def test_key_headers_and_tombstones_come_back(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    platform.ottla(
        *("produce", topic, "--key", "UA", "--null-value", "NULL"),
        *("--header", "source=faa", "--header", "checked="),
        stdin=b"late\nNULL\n\n",
    )
    records = _records(platform, topic)
    assert [(each["offset"], each["key"], each["value"]) for each in records] == [
        (0, "UA", "late"),
        (1, "UA", None),
        (2, "UA", ""),
    ]
    assert records[0]["headers"] == [
        {"key": "source", "value": "faa"},
        {"key": "checked", "value": ""},
    ]
    text = platform.ottla(
        *("consume", topic, "--offset", "0", "-n", "1"),
        *("--print-key", "--print-headers", "--print-partition", "--print-offset"),
    )
    assert text.out == b"0\t0\tsource=faa,checked=\tUA\tlate\n"


def test_bytes_that_are_no_text_come_back(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    platform.ottla("produce", topic, stdin=b"\xff\x00\xfe\n")
    assert _records(platform, topic)[0]["value"] == {"base64": "/wD+"}
    assert platform.ottla("consume", topic, *ALL, "--format", "raw").out == b"\xff\x00\xfe"
    assert platform.ottla("consume", topic, *ALL).out == b"\xff\x00\xfe\n"


@pytest.mark.parametrize(
    ("options", "values"),
    [
        (["--from-beginning", "--until-end"], list(range(10))),
        (["--offset", "7", "--until-end"], [7, 8, 9]),
        (["--offset", "-2", "--until-end"], [8, 9]),
        (["--offset", "earliest", "-n", "2"], [0, 1]),
        (["--since", "1h", "--max-messages", "3"], [0, 1, 2]),
        (["--since", "2999-01-01", "--until-end"], []),
        (["--until-end"], []),
        (["--from-beginning", "--timeout", "0.5"], list(range(10))),
        (["--offset", "latest", "--timeout", "0.1"], []),
        (["--offset", "0", "--until-end", "--max-messages", "4"], [0, 1, 2, 3]),
        (["--offset", "10", "--until-end"], []),
        (["--offset", "-99", "--until-end"], list(range(10))),
    ],
    ids=lambda value: " ".join(map(str, value)) if value and isinstance(value[0], str) else "",
)
def test_reading_begins_and_ends_where_it_should(
    platform: Up, ten: str, options: list[str], values: list[int]
) -> None:
    assert [int(line) for line in platform.ottla("consume", ten, *options).lines] == values


def test_one_partition_can_be_written_and_read(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic(3)
    platform.ottla("produce", topic, "--partition", "2", "--key", "k", stdin=b"a\nb\n")
    assert platform.ottla("consume", topic, *ALL, "-p", "2").lines == ["a", "b"]
    assert platform.ottla("consume", topic, *ALL, "-p", "0", "-p", "1").lines == []
    done = platform.ottla("consume", topic, *ALL, "-p", "3", code=3)
    assert f"{topic} has partitions 0 to 2, not 3" in done.err


def test_reader_gets_what_is_published_while_it_waits(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic(3)
    with platform.start_ottla("consume", topic, "--from-beginning") as reader:
        assert reader.stdout is not None
        for number in range(3):
            platform.ottla("produce", topic, "--key", str(number), stdin=b"%d\n" % number)
            assert reader.stdout.readline() == b"%d\n" % number
        reader.send_signal(signal.SIGINT)
        _, err = reader.communicate(timeout=WAIT_SECONDS)
    assert (reader.returncode, err) == (0, b"")


def test_line_typed_is_published_before_the_input_ends(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    with platform.start_ottla("produce", topic) as writer:
        assert writer.stdin is not None
        for number, text in enumerate((b"first\n", b"second\n")):
            writer.stdin.write(text)
            writer.stdin.flush()
            done = platform.ottla("consume", topic, "--offset", str(number), "-n", "1")
            assert done.out == text
        writer.communicate(timeout=WAIT_SECONDS)
    assert writer.returncode == 0


def test_consume_ends_with_its_reader_though_no_record_comes(
    platform: Up, new_topic: NewTopic
) -> None:
    topic = new_topic()
    platform.ottla("produce", topic, stdin=b"only\n")
    with platform.start_ottla("consume", topic, "--from-beginning") as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == b"only\n"
        reader.stdout.close()
        assert reader.wait(WAIT_SECONDS) == 0
        assert reader.stderr is not None
        assert reader.stderr.read() == b""


def test_consume_survives_head(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    platform.ottla("produce", topic, stdin=b"0123456789" * 10 + b"\n" * 20_000)
    with platform.start_ottla("consume", topic, "--from-beginning") as reader:
        assert reader.stdout is not None
        reader.stdout.readline()
        reader.stdout.close()
        platform.ottla("produce", topic, stdin=b"more\n" * 20_000)
        assert reader.wait(WAIT_SECONDS) == 0
        assert reader.stderr is not None
        assert reader.stderr.read() == b""


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], b"late"),
        (["--print-key"], b"UA\tlate"),
        (["--print-headers"], b"source=faa\tlate"),
        (["--print-partition"], b"0\tlate"),
        (["--print-offset"], b"1\tlate"),
        (["--print-key", "--separator", " | "], b"UA | late"),
        (["--print-key", "--print-offset", "--separator", "\\t"], b"1\tUA\tlate"),
        (["--offset", "0", "--null-value", "-"], b"-"),
        (["--offset", "0", "--print-key", "--format", "raw"], b"late"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_line_holds_what_is_asked_for(
    platform: Up, two: str, options: list[str], line: bytes
) -> None:
    start = [] if "--offset" in options else ["--offset", "1"]
    done = platform.ottla("consume", two, *start, *options, "--until-end")
    assert done.out.splitlines()[0] == line


def test_time_is_printed_as_it_was_taken(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    before = datetime.now(UTC) - timedelta(milliseconds=1)
    platform.ottla("produce", topic, stdin=b"a\n")
    done = platform.ottla("consume", topic, *ALL, "--print-timestamp")
    text, value = done.out.decode().split()
    assert value == "a"
    assert before <= datetime.fromisoformat(text) <= datetime.now(UTC)


@pytest.mark.parametrize("acks", ["all", "leader", "none"])
def test_records_arrive_with_any_acknowledgement(
    platform: Up, new_topic: NewTopic, acks: str
) -> None:
    topic = new_topic()
    summary = platform.ottla(
        "produce", topic, "--acks", acks, "-o", "json", stdin=b"a\nb\n"
    ).document
    assert summary["partitions"] == {"0": 2}
    assert platform.ottla("consume", topic, "--offset", "0", "-n", "2").lines == ["a", "b"]


def test_headers_are_on_every_record_in_order(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic(2)
    lines = b"".join(b"%d\n" % number for number in range(1_000))
    platform.ottla("produce", topic, "-k", "k", "-H", "a=1", "-H", "a=2", stdin=lines)
    records = _records(platform, topic)
    assert [each["value"] for each in records] == [str(number) for number in range(1_000)]
    wanted = [{"key": "a", "value": "1"}, {"key": "a", "value": "2"}]
    assert all(each["headers"] == wanted for each in records)


def test_partition_that_is_not_there_exits_with_3(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic(2)
    done = platform.ottla("produce", topic, "--partition", "2", stdin=b"a\n", code=3)
    assert f"{topic} has partitions 0 to 1, not 2" in done.err


def test_publishing_where_nobody_is_exits_with_4() -> None:
    done = run_ottla("produce", "flights", "-b", "127.0.0.1:1", stdin=b"a\n", code=4)
    assert "no broker answers at 127.0.0.1:1" in done.err
    assert "--bootstrap, OTTLA_BOOTSTRAP or `ottla context` says where one is" in done.err
    done = run_ottla("consume", "flights", "-b", "127.0.0.1:1", code=4)
    assert "no broker answers at 127.0.0.1:1" in done.err


def test_new_topic_of_headers_and_many_lines_loses_nothing(platform: Up, topic_name: str) -> None:
    lines = [str(number) for number in range(5_000)]
    text = "\n".join(lines).encode()
    summary = platform.ottla("produce", topic_name, "-H", "h=v", "-o", "json", stdin=text).document
    assert summary["record_count"] == 5_000
    assert platform.ottla("consume", topic_name, *ALL).lines == lines


def test_unknown_topic_exits_with_3(platform: Up) -> None:
    done = platform.ottla("consume", "no-such-topic", code=3)
    assert "no-such-topic" in done.err
    assert done.out == b""


def test_publishing_creates_the_topic_and_reading_does_not(platform: Up, topic_name: str) -> None:
    platform.ottla("consume", topic_name, "--until-end", code=3)
    platform.ottla("produce", topic_name, stdin=b"hello\n")
    assert platform.ottla("consume", topic_name, *ALL).lines == ["hello"]


def test_offset_outside_exits_with_1_and_says_what_there_is(platform: Up, ten: str) -> None:
    done = platform.ottla("consume", ten, "--offset", "11", "--until-end", code=1)
    assert "the partition holds offsets 0 up to, not including, 10" in done.err


def test_bad_line_ends_produce_after_the_lines_before_it(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    done = platform.ottla("produce", topic, "-K", ":", stdin=b"a:1\nb:2\nbad\nc:3\n", code=1)
    assert "line 3 has no ':' between key and value" in done.err
    assert "2 records were acknowledged" in done.err
    assert [each["key"] for each in _records(platform, topic)] == ["a", "b"]


def test_line_that_fits_no_record_is_refused(platform: Up, new_topic: NewTopic) -> None:
    done = platform.ottla("produce", new_topic(), stdin=b"x" * (1024 * 1024 + 1), code=1)
    assert "line 1 is longer than 1048576 bytes" in done.err


def test_record_of_nearly_the_largest_size_is_taken(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    line = b"x" * 1_000_000
    platform.ottla("produce", topic, stdin=line)
    assert platform.ottla("consume", topic, *ALL, "--format", "raw").out == line


def test_empty_input_publishes_nothing(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    summary = platform.ottla("produce", topic, "-o", "json").document
    assert summary["record_count"] == 0
    assert platform.ottla("consume", topic, *ALL).out == b""


def test_said_things_are_not_data(platform: Up, new_topic: NewTopic) -> None:
    topic = new_topic()
    loud = platform.ottla("produce", topic, stdin=b"a\n")
    assert (loud.out, loud.err.startswith("1 record to ")) == (b"", True)
    quiet = platform.ottla("produce", topic, "--quiet", stdin=b"a\n")
    assert (quiet.out, quiet.err) == (b"", "")


def test_settings_are_shown_without_a_platform() -> None:
    flags = ("--node-id=1", "--data-dir=/data", "--controller=c:1", "--retention-ms=5")
    done = run_ottla("config", "show", "broker", "-o", "json", *flags)
    settings = {each["name"]: each for each in json.loads(done.out)["settings"]}
    assert (settings["retention.ms"]["value"], settings["retention.ms"]["source"]) == ("5", "flag")
    bad = run_ottla("config", "show", "broker", *flags, "--retenton-ms=5", code=2)
    assert "the nearest is --retention-ms" in bad.err
