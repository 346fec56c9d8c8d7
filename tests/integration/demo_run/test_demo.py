"""`python -m demo` as users run it: to its end, and stopped on the way."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from unit.demo.archives import archive_of

ROOT = Path(__file__).parents[3]
WAIT_SECONDS = 100
# The demo on flights of the test's: it takes no other archive by itself.
SLICE = """
import sys
from pathlib import Path
import demo.__main__ as run
import demo.dataset as dataset
dataset.FLIGHT_COUNT = run.FLIGHT_COUNT = int(sys.argv[1])
run.fetch = lambda cache: Path(sys.argv[2])
sys.exit(run.main())
"""
CARRIERS = (b"UA", b"AA", b"B6", b"EV", b"9E")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(150)]


class Demo:
    """One run, in temporary files of its own, without HOME and without a terminal."""

    def __init__(self, folder: Path, *program: str) -> None:
        self.scratch = folder / "scratch"
        self.scratch.mkdir()
        environ = {name: value for name, value in os.environ.items() if name != "HOME"}
        self.process = subprocess.Popen(
            [sys.executable, *program],
            cwd=ROOT,
            env={**environ, "TMPDIR": str(self.scratch), "LANG": "C"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def family(self) -> list[psutil.Process]:
        """The demo and everything it has started."""
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def wait_child(self, word: str) -> None:
        """Returns once a process with this word on its command line runs."""
        found = False
        while not found:
            with contextlib.suppress(subprocess.TimeoutExpired):
                raise AssertionError(
                    f"the demo ended early: {self.process.communicate(timeout=0.1)}"
                )
            with contextlib.suppress(psutil.Error):
                found = any(word in each.cmdline() for each in self.family[1:])

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout and stderr, once it ended by itself."""
        out, err = self.process.communicate(timeout=WAIT_SECONDS)
        return self.process.returncode, out, err

    def close(self) -> None:
        if self.process.poll() is None:
            for each in self.family:
                each.kill()
            self.process.communicate()


@pytest.fixture
def demos() -> Iterator[list[Demo]]:
    started: list[Demo] = []
    yield started
    for each in started:
        each.close()


def left_of(demo: Demo) -> tuple[list[str], list[psutil.Process]]:
    """What a demo that ended left: files, and processes that speak of its folder or its session."""
    running = [
        each
        for each in psutil.process_iter(["cmdline"])
        if any(str(demo.scratch) in word for word in each.info["cmdline"] or ())
    ]
    return [each.name for each in demo.scratch.iterdir()], running


def sliced(folder: Path, count: int) -> tuple[str, ...]:
    rows = b"".join(b"2013,%s,%d\n" % (CARRIERS[n * n % 5], n) for n in range(count))
    archive = archive_of(rows, folder / "flights.tar.gz")
    return "-c", SLICE, str(count), str(archive)


def test_small_demo_proves_every_flight_and_leaves_nothing(
    tmp_path: Path, demos: list[Demo]
) -> None:
    demos.append(Demo(tmp_path, *sliced(tmp_path, 2_000)))
    code, out, err = demos[0].end()
    assert (code, err) == (0, ""), out
    assert "Every flight came back, in order." in out
    (total,) = (line for line in out.splitlines() if line.strip().startswith("│ all"))
    assert total.count("2,000") == 2
    assert left_of(demos[0]) == ([], [])


def test_two_demos_beside_one_another_do_not_meet(tmp_path: Path, demos: list[Demo]) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        demos.append(Demo(tmp_path / name, *sliced(tmp_path / name, 500)))
    for each in demos:
        assert each.end()[0] == 0
        assert left_of(each) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
@pytest.mark.parametrize("moment", ["up", "demo.publish"])
def test_stopped_demo_says_so_in_a_line_and_leaves_nothing(
    tmp_path: Path, demos: list[Demo], number: signal.Signals, moment: str
) -> None:
    demos.append(Demo(tmp_path, *sliced(tmp_path, 300_000)))
    demos[0].wait_child(moment)
    family = demos[0].family
    demos[0].process.send_signal(number)
    code, _, err = demos[0].end()
    assert (code, err) == (128 + number, f"demo: stopped by {number.name}\n")
    _, alive = psutil.wait_procs(family, timeout=WAIT_SECONDS)
    assert not alive
    assert left_of(demos[0]) == ([], [])


def test_whole_demo_brings_every_flight_back(tmp_path: Path, demos: list[Demo]) -> None:
    demos.append(Demo(tmp_path, "-m", "demo"))
    code, out, err = demos[0].end()
    assert (code, err) == (0, ""), out
    assert out.count("336,776") >= 2
    assert "NO" not in out.split("whole and in order")[1]
    assert left_of(demos[0]) == ([], [])


@pytest.mark.parametrize(
    ("redirection", "why"),
    [(">&-", "Bad file descriptor"), (">/dev/full", "No space left on device")],
)
def test_demo_that_nobody_can_see_says_so_in_a_line(
    tmp_path: Path, redirection: str, why: str
) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    done = subprocess.run(
        [
            *("sh", "-c", f'exec "$0" "$@" {redirection}', sys.executable),
            *sliced(tmp_path, 500),
        ],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(scratch)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stderr) == (1, f"demo: cannot write to standard output: {why}\n")
    assert list(scratch.iterdir()) == []


def test_demo_without_a_place_for_its_data_says_so_in_a_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "demo"],
        cwd=ROOT,
        env={**os.environ, "OTTLA_DEMO_CACHE": "/dev/null/cache"},
        capture_output=True,
        text=True,
        timeout=WAIT_SECONDS,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("demo: [Errno 20] Not a directory")
    assert done.stderr.count("\n") == 1
