"""`ottla up`: one command from nothing to a platform, and back to nothing."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from ottla.api.record.v1 import record_pb2

from .arrangement import WAIT_SECONDS, Up, run_ottla

pytestmark = pytest.mark.slow

Start = Callable[..., Up]
# The bits of a batch's attributes that say how its records are compressed, and those of zstd.
COMPRESSION, ZSTD = 7, 4


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Up] = []

    def begin(*flags: str, data: Path = tmp_path / "data", port: int = 0) -> Up:
        started.append(Up(data, *flags, port=port))
        return started[-1]

    yield begin
    for each in started:
        each.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_platform_starts_serves_and_ends_in_good_order(
    start: Start, number: signal.Signals
) -> None:
    up = start()
    assert up.wait_ready().startswith("export OTTLA_BOOTSTRAP=127.0.0.1:")
    assert up.ottla("topics", "list").code == 0
    done = up.end(number)
    assert (done.code, done.out) == (0, b"")
    assert str(up.data) in done.err


def test_services_name_their_node_on_their_command_line(start: Start) -> None:
    up = start()
    up.wait_ready()
    for module in ("ottla_broker", "ottla_controller"):
        assert "--node-id=1" in up.service(module).cmdline()
    assert len(up.services) == 2


def test_records_are_there_after_a_restart(start: Start) -> None:
    up = start()
    up.wait_ready()
    up.ottla("topics", "create", "letters", "--partitions", "2")
    up.ottla("produce", "letters", stdin=b"one\ntwo\nthree\n")
    assert up.end().code == 0
    again = start()
    again.wait_ready()
    done = again.ottla("consume", "letters", "--from-beginning", "--until-end")
    assert sorted(done.lines) == ["one", "three", "two"]


def test_second_start_on_the_same_data_is_refused(start: Start) -> None:
    up = start()
    up.wait_ready()
    second = run_ottla("up", "--data", str(up.data), "--port", "0", code=1)
    assert second.out == b""
    assert f"{up.data} is in use by `ottla up` at {up.bootstrap}" in second.err
    assert f"process {up.process.pid}" in second.err
    assert up.ottla("topics", "list").code == 0


def test_two_platforms_run_side_by_side(start: Start, tmp_path: Path) -> None:
    first, second = start(), start(data=tmp_path / "other")
    first.wait_ready()
    second.wait_ready()
    first.ottla("topics", "create", "only-first")
    assert second.ottla("topics", "list", "--output", "json").document == []


@pytest.mark.parametrize("module", ["ottla_broker", "ottla_controller"])
def test_death_of_a_service_ends_the_platform_with_1(start: Start, module: str) -> None:
    up = start()
    up.wait_ready()
    up.service(module).kill()
    done = up.end(None)
    assert done.code == 1
    name = {"ottla_broker": "broker-1", "ottla_controller": "controller"}[module]
    assert f"the {name} was killed by SIGKILL" in done.err
    assert f"logs/{name}.log" in done.err


def test_services_die_with_a_killed_parent_and_the_data_is_free_again(start: Start) -> None:
    up = start()
    up.wait_ready()
    up.end(signal.SIGKILL)
    log = (up.data / "logs" / "broker-1.log").read_text()
    assert "service.drain_began" in log
    assert "service.drain_cancelled" not in log
    again = start()
    assert again.wait_ready() != ""


def test_platform_dies_with_its_parent_if_asked(start: Start, tmp_path: Path) -> None:
    program = (
        "import subprocess, sys\n"
        "up = subprocess.Popen([sys.executable, '-c', 'from ottla_cli.main import main; main()',"
        " 'up', '--die-with-parent', '--port=0', '--output=json', '--data', sys.argv[1]],"
        " stderr=subprocess.DEVNULL)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        text = ""
        while not text.endswith("}\n}\n"):
            text += parent.stdout.readline()
        facts = json.loads(text)
        processes = [
            psutil.Process(each)
            for each in (
                facts["process_id"],
                facts["broker"]["process_id"],
                facts["controller"]["process_id"],
            )
        ]
        parent.kill()
        _, alive = psutil.wait_procs(processes, timeout=WAIT_SECONDS)
    assert not alive
    assert facts["bootstrap"] == f"127.0.0.1:{facts['broker']['port']}"
    assert facts["data"] == str(tmp_path / "data")


@pytest.mark.parametrize("seconds", [0.05, 0.15, 0.6])
def test_platform_notices_a_parent_that_died_while_it_started(
    tmp_path: Path, seconds: float
) -> None:
    program = (
        "import os, subprocess, sys\n"
        "subprocess.Popen([sys.executable, '-c', 'from ottla_cli.main import main; main()', 'up',"
        " '--die-with-parent', f'--parent-process-id={os.getpid()}', '--port=0', '--data',"
        " sys.argv[1]], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)\n"
        "print('started', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path / "data")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "started\n"
        with pytest.raises(subprocess.TimeoutExpired):
            parent.wait(seconds)
        parent.kill()
        parent.wait()
        left = _processes_of(tmp_path)
        # One that was between its fork and its death may have started another meanwhile.
        while left:
            _, alive = psutil.wait_procs(left, timeout=WAIT_SECONDS)
            for each in alive:
                each.kill()
            assert not alive
            left = _processes_of(tmp_path)


def _processes_of(path: Path) -> list[psutil.Process]:
    """Whoever names the path on its command line."""
    return [
        each
        for each in psutil.process_iter(["cmdline"])
        if any(str(path) in word for word in each.info["cmdline"] or ())
        and each.status() != psutil.STATUS_ZOMBIE
    ]


def test_port_in_use_is_said_clearly(tmp_path: Path) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = str(taken.getsockname()[1])
        done = run_ottla("up", "--data", str(tmp_path), "--port", port, code=1)
    assert f"cannot listen on 127.0.0.1:{port}: the port is in use" in done.err
    assert done.out == b""


def test_start_that_waits_says_for_what_and_an_interrupt_leaves_nothing_running(
    start: Start,
) -> None:
    up = start()
    up.wait_ready()
    assert up.end().code == 0
    with contextlib.closing(sqlite3.connect(up.data / "controller/metadata.sqlite")) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE INSERT ON revisions"
            " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END"
        )
        database.commit()
    again = start()
    assert again.process.stderr is not None
    assert again.process.stderr.readline() == (
        b"The controller waits: the metadata store failed: database or disk is full\n"
    )
    again.services = psutil.Process(again.process.pid).children()
    done = again.end(signal.SIGINT)
    assert (done.code, done.out) == (130, b"")


def test_path_that_is_no_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    done = run_ottla("up", "--data", str(tmp_path / "file"), code=1)
    assert "as data directory" in done.err
    assert "--data DIR chooses another" in done.err


def test_topic_made_with_zstd_lies_on_the_disk_as_zstd(start: Start) -> None:
    up = start()
    up.wait_ready()
    up.ottla("topics", "create", "packed", "--config", "compression.type=zstd")
    up.ottla("topics", "create", "plain", "--config", "compression.type=none")
    lines = b"".join(b"a letter much like the others, number %d\n" % n for n in range(2_000))
    compressions, sizes = {}, {}
    for topic in ("packed", "plain"):
        up.ottla("produce", topic, stdin=lines)
        consumed = up.ottla("consume", topic, "--from-beginning", "--until-end")
        assert consumed.out == lines
    assert up.end().code == 0
    for topic in ("packed", "plain"):
        (path,) = (up.data / "broker-1").rglob(f"{topic}-0/*.log")
        segment = record_pb2.LogSegment.FromString(path.read_bytes())
        compressions[topic] = {batch.attributes & COMPRESSION for batch in segment.batches}
        sizes[topic] = sum(len(batch.records) for batch in segment.batches)
        if topic == "packed":
            for batch in segment.batches:
                assert batch.records.startswith(b"\x28\xb5\x2f\xfd"), "the magic number of zstd"
    assert compressions == {"packed": {ZSTD}, "plain": {0}}
    assert sizes["packed"] < sizes["plain"] // 3
