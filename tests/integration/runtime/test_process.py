"""Service processes: ready lines, signals, failures and exit codes, with real processes."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

SAMPLE = Path(__file__).with_name("sample_service.py")
ROOT = Path(__file__).parents[3]
PATHS = [ROOT / "clients/python", ROOT / "services/runtime"]
WAIT_SECONDS = 30


class Processes:
    """Sample services of one test; none outlives it."""

    def __init__(self) -> None:
        self._started: list[Started] = []
        self._environ = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(map(str, PATHS)),
            "OTTLA_SAMPLE__HEALTH_PORT": "0",
            "LANG": "C",
        }

    def start(self, *flags: str, environ: dict[str, str] | None = None) -> Started:
        read, write = os.pipe()
        try:
            process = subprocess.Popen(
                [
                    *(sys.executable, str(SAMPLE), "--node-id=5"),
                    f"--ready-fd={write}",
                    *flags,
                ],
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                pass_fds=[write],
                text=True,
                env={**self._environ, **(environ or {})},
            )
        finally:
            os.close(write)
        started = Started(process, read)
        self._started.append(started)
        return started

    def stop_all(self) -> None:
        for started in self._started:
            if started.process.poll() is None:
                started.process.kill()
            started.end()


class Started:
    """One of them."""

    def __init__(self, process: subprocess.Popen[str], ready: int) -> None:
        self.process = process
        self._ready = os.fdopen(ready)

    def ready_line(self) -> dict[str, int]:
        with self._ready:
            line: dict[str, int] = json.loads(self._ready.readline())
            assert self._ready.read() == "", "one line, then the end"
        return line

    def ready_lines(self) -> list[str]:
        with self._ready:
            return self._ready.readlines()

    def end(self) -> tuple[int, str, list[dict[str, Any]]]:
        """Exit code, what is said to people, and the log."""
        self._ready.close()
        if self.process.stdout is None or self.process.stdout.closed:
            return self.process.returncode, "", []
        _, errors = self.process.communicate(timeout=WAIT_SECONDS)
        lines = errors.splitlines()
        log = [json.loads(line) for line in lines if line.startswith("{")]
        spoken = [line for line in lines if not line.startswith("{")]
        assert len(spoken) <= 1, spoken
        return self.process.returncode, "".join(spoken), log


@pytest.fixture
def processes() -> Iterator[Processes]:
    made = Processes()
    yield made
    made.stop_all()


def _probe(port: int, name: str) -> int:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        status: int = stub.Check(
            health_pb2.HealthCheckRequest(service=name), timeout=WAIT_SECONDS
        ).status
        return status


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_service_tells_when_it_is_ready_and_drains_on_a_signal(
    processes: Processes, number: signal.Signals
) -> None:
    service = processes.start()
    ready = service.ready_line()
    assert ready["node_id"] == 5
    serving = health_pb2.HealthCheckResponse.SERVING
    assert [_probe(ready["health_port"], name) for name in ("startup", "ready", "live", "")] == [
        serving
    ] * 4
    with socket.create_connection(("127.0.0.1", ready["port"]), timeout=WAIT_SECONDS):
        pass
    service.process.send_signal(number)
    code, spoken, log = service.end()
    assert (code, spoken) == (0, "")
    assert [line["event"] for line in log] == ["service.ready", "service.drain_began"]
    assert log[1]["signal"] == number.name
    assert {(line["service"], line["node_id"]) for line in log} == {("sample", 5)}


@pytest.mark.slow
def test_health_knows_no_other_names(processes: Processes) -> None:
    health_port = processes.start().ready_line()["health_port"]
    with pytest.raises(grpc.RpcError) as caught:
        _probe(health_port, "nonsense")
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND


@pytest.mark.slow
def test_second_signal_cancels_a_drain_that_hangs(processes: Processes) -> None:
    service = processes.start("--behaviour=hang")
    service.ready_line()
    service.process.send_signal(signal.SIGTERM)
    assert service.process.stderr is not None
    while "service.drain_began" not in service.process.stderr.readline():
        pass
    service.process.send_signal(signal.SIGTERM)
    code, _, log = service.end()
    assert code == 1
    assert log[-1]["event"] == "service.drain_cancelled"
    assert log[-1]["reason"] == "second SIGTERM"


@pytest.mark.slow
def test_death_of_the_parent_told_twice_is_no_impatience(processes: Processes) -> None:
    service = processes.start("--behaviour=hang")
    service.ready_line()
    assert service.process.stderr is not None
    service.process.send_signal(signal.SIGHUP)
    while "service.drain_began" not in service.process.stderr.readline():
        pass
    service.process.send_signal(signal.SIGHUP)
    service.process.send_signal(signal.SIGTERM)
    code, _, log = service.end()
    assert (code, [line["reason"] for line in log]) == (1, ["second SIGTERM"])


@pytest.mark.slow
def test_drain_that_takes_too_long_is_cancelled(processes: Processes) -> None:
    service = processes.start("--behaviour=hang", "--drain-timeout-ms=1")
    service.ready_line()
    service.process.send_signal(signal.SIGTERM)
    code, _, log = service.end()
    assert (code, log[-1]["reason"]) == (1, "drain_timeout_ms is over")


@pytest.mark.slow
def test_task_that_dies_ends_the_service_with_one_clear_line(processes: Processes) -> None:
    code, spoken, log = processes.start("--behaviour=die").end()
    assert code == 1
    assert spoken == "ottla sample: task doomed failed: ValueError: doomed from the start"
    failed = next(line for line in log if line["event"] == "task.failed")
    assert (failed["task"], failed["level"]) == ("doomed", "error")
    assert "Traceback" in failed["exception"]


@pytest.mark.slow
def test_main_that_raises_ends_the_service_with_one_clear_line(processes: Processes) -> None:
    code, spoken, _ = processes.start("--behaviour=crash").end()
    assert (code, spoken) == (
        1,
        "ottla sample: task sample failed: RuntimeError: cannot go on",
    )


@pytest.mark.slow
@pytest.mark.parametrize("flag", ["--port", "--health-port"])
def test_port_in_use_is_said_in_one_line(processes: Processes, flag: str) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        code, spoken, log = processes.start(f"{flag}={port}").end()
    assert code == 1
    assert spoken.startswith(
        f"ottla sample: cannot listen on 127.0.0.1:{port}: the port is in use; stop what"
    )
    assert log[-1]["event"] == "service.failed"


@pytest.mark.slow
def test_what_a_service_waits_for_and_why_it_failed_is_told_on_the_pipe(
    processes: Processes,
) -> None:
    service = processes.start("--behaviour=wait", "--log-level=error")
    lines = [json.loads(line) for line in service.ready_lines()]
    code, spoken, log = service.end()
    assert lines == [{"waiting": "for rain"}, {"failed": "task sample failed: ValueError: dry"}]
    assert (code, spoken) == (1, "ottla sample: task sample failed: ValueError: dry")
    assert [each["event"] for each in log] == ["task.failed", "service.failed"]


@pytest.mark.slow
def test_port_of_another_service_of_ours_is_not_shared(processes: Processes) -> None:
    port = processes.start().ready_line()["port"]
    code, spoken, _ = processes.start(f"--port={port}").end()
    assert code == 1
    assert "the port is in use" in spoken


@pytest.mark.slow
def test_address_of_another_machine_is_refused(processes: Processes) -> None:
    code, spoken, _ = processes.start("--host=192.0.2.1").end()
    assert code == 1
    assert spoken.endswith("this machine has no such address")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("flags", "environ", "spoken"),
    [
        (["--prot=1"], {}, "unknown setting --prot; the nearest is --port"),
        ([], {"OTTLA_SAMPLE__PROT": "1"}, "the nearest is OTTLA_SAMPLE__PORT"),
    ],
)
def test_bad_settings_are_a_usage_error(
    processes: Processes, flags: list[str], environ: dict[str, str], spoken: str
) -> None:
    code, said, log = processes.start(*flags, environ=environ).end()
    assert (code, log) == (2, [])
    assert spoken in said


@pytest.mark.slow
def test_service_link_of_kubernetes_does_not_stop_the_service(processes: Processes) -> None:
    service = processes.start(environ={"OTTLA_SAMPLE_PORT": "tcp://10.0.0.1:9092"})
    assert service.ready_line()["node_id"] == 5


@pytest.mark.slow
def test_file_limit_that_is_too_low_is_refused(processes: Processes) -> None:
    code, spoken, _ = processes.start("--open-files-min=2147483647").end()
    assert code == 1
    assert "the limit of open files is" in spoken


@pytest.mark.slow
def test_shown_settings_go_to_stdout(processes: Processes) -> None:
    service = processes.start("--show-config=json")
    out, errors = service.process.communicate(timeout=WAIT_SECONDS)
    assert (service.process.returncode, errors) == (0, "")
    assert json.loads(out)["service"] == "sample"


@pytest.mark.slow
def test_service_ends_with_its_parent(processes: Processes) -> None:
    program = (
        "import os, subprocess, sys\n"
        "read, write = os.pipe()\n"
        "child = subprocess.Popen([sys.executable, sys.argv[1], '--node-id=5', '--health-port=0',"
        " '--die-with-parent', f'--ready-fd={write}'], pass_fds=[write])\n"
        "os.close(write)\n"
        "os.fdopen(read).readline()\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(SAMPLE)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(map(str, PATHS))},
    ) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
        psutil.wait_procs([child], timeout=WAIT_SECONDS)
    assert not child.is_running()


@pytest.mark.slow
def test_service_refuses_to_outlive_a_parent_that_ended_before_it_looked(
    processes: Processes,
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    service = processes.start("--die-with-parent", f"--parent-process-id={ended.pid}")
    code, spoken, _ = service.end()
    assert code == 1
    assert spoken == "ottla sample: the process that started this one has ended"


@pytest.mark.slow
def test_service_lives_with_the_parent_it_was_told_of(processes: Processes) -> None:
    service = processes.start("--die-with-parent", f"--parent-process-id={os.getpid()}")
    assert service.ready_line()["node_id"] == 5
