"""Each guard a test runs under fails a test that breaks its rule: planted violations."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PYTEST = (sys.executable, "-m", "pytest")
ROOT = Path(__file__).resolve().parents[3]

PLANTED = '''
"""Planted violations; the name of each test says what must come of it."""
import asyncio, os, subprocess, sys, threading, time, warnings
import pytest

GO = threading.Event()


async def test_passes_sleeping_without_blocking():
    await asyncio.sleep(0)

async def test_fails_blocking_sleep():
    time.sleep(0.001)

async def test_fails_swallowed_blocking_call():
    try:
        time.sleep(0.001)
    except Exception:
        pass

async def test_fails_flush_in_the_loop(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

async def test_passes_flush_in_a_thread(tmp_path):
    descriptor = os.open(tmp_path / "file", os.O_CREAT | os.O_WRONLY)
    try:
        await asyncio.to_thread(os.fsync, descriptor)
    finally:
        os.close(descriptor)

@pytest.mark.may_block(reason="planted")
async def test_passes_blocking_with_a_reason():
    time.sleep(0.001)

async def test_fails_blocking_again_after_an_exemption():
    time.sleep(0.001)

def test_fails_warning():
    warnings.warn("planted", stacklevel=1)

def test_fails_unlisted_skip():
    pytest.skip("planted")

def test_skips_listed():
    pytest.skip("planted, on the list")

def test_fails_listed_skip_whose_condition_does_not_hold():
    pytest.skip("planted, on the list")

@pytest.mark.xfail(reason="planted")
def test_fails_unlisted_expected_failure():
    assert False

@pytest.mark.timeout(0.2)
def test_fails_too_slow():
    GO.wait(30)

async def test_errors_leaked_task(request):
    request.node.task = asyncio.get_running_loop().create_task(asyncio.Event().wait(), name="idle")

async def test_passes_finished_task():
    await asyncio.get_running_loop().create_task(asyncio.sleep(0))

def test_errors_leaked_thread():
    threading.Thread(target=GO.wait, name="idle", daemon=True).start()

@pytest.fixture(scope="module")
def worker():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, name="of the module")
    thread.start()
    yield
    stop.set()
    thread.join()

def test_passes_thread_of_a_wider_fixture(worker):
    assert threading.active_count() > 1

def test_errors_leaked_process(request):
    request.node.child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)

def test_passes_finished_process():
    assert subprocess.run([sys.executable, "-c", ""], check=False).returncode == 0
'''

SKIPS = """
[[skip]]
test = "test_planted.py::test_skips_listed"
reason = "needs a command nobody has"
when = { missing_command = "ottla-planted-no-such-command" }

[[skip]]
test = "test_planted.py::test_fails_listed_skip_whose_condition_does_not_hold"
reason = "needs Python"
when = { missing_module = "sys" }
"""


def run_inner_pytest(folder: Path, *, source: str, skips: str = "", **environment: str) -> str:
    """Runs `source` in its own process under this repository's pytest settings and guards."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    options = settings["tool"]["pytest"]["ini_options"]
    options["pythonpath"] = [str(ROOT / path) for path in options["pythonpath"]]
    options.pop("testpaths")
    options["skip_list"] = "skips.toml"
    lines = [f"{key} = {to_toml(value)}" for key, value in options.items()]
    text = "\n".join(["[tool.pytest.ini_options]", *lines])
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    (folder / "skips.toml").write_text(skips, encoding="utf-8")
    conftest = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    (folder / "conftest.py").write_text(conftest, encoding="utf-8")
    (folder / "test_planted.py").write_text(source, encoding="utf-8")
    inherited = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}
    finished = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-rA",
            "-p",
            "no:cacheprovider",
            "--color=no",
            "--tb=line",
        ],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    return finished.stdout + finished.stderr + f"\nexit status {finished.returncode}\n"


def to_toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(to_toml(item) for item in value)}]"
    return str(value) if isinstance(value, int) else f"'{value}'"


def outcomes(output: str) -> dict[str, set[str]]:
    """Words of pytest's short summary (PASSED, FAILED, ERROR) for each test name."""
    words: dict[str, set[str]] = {}
    for line in output.splitlines():
        word, _, rest = line.partition(" ")
        if word in {"PASSED", "FAILED", "ERROR"} and "::" in rest:
            words.setdefault(rest.split("::")[1].split(" ")[0], set()).add(word)
    return words


@pytest.mark.slow
def test_each_planted_violation_comes_out_as_its_name_says(tmp_path: Path) -> None:
    output = run_inner_pytest(tmp_path, source=PLANTED, skips=SKIPS, OTTLA_REQUIRE_ALL="0")
    words = outcomes(output)
    names = set(re.findall(r"def (test_\w+)", PLANTED))
    expected: dict[str, set[str]] = {}
    for name in names:
        verb = name.split("_")[1]
        expected[name] = {
            "passes": {"PASSED"},
            "fails": {"FAILED"},
            "errors": {"PASSED", "ERROR"},
            "skips": set(),
        }[verb]
    assert {name: words.get(name, set()) for name in names} == expected, output
    assert "exit status 1" in output


@pytest.mark.slow
def test_run_ends_with_its_skips_and_then_the_closing_line(tmp_path: Path) -> None:
    source = "import pytest\ndef test_skips_listed():\n    pytest.skip('planted, on the list')\n"
    output = run_inner_pytest(tmp_path, source=source, skips=SKIPS, OTTLA_REQUIRE_ALL="0")
    lines = [line for line in output.splitlines() if line.strip()]
    assert "skips: 1" in lines[-4]
    assert lines[-3] == "test_planted.py::test_skips_listed: planted, on the list"
    assert "1 skipped" in lines[-2]
    assert lines[-1] == "exit status 0"


@pytest.mark.slow
def test_skip_on_the_list_fails_when_every_test_is_required(tmp_path: Path) -> None:
    source = "import pytest\ndef test_skips_listed():\n    pytest.skip('planted, on the list')\n"
    output = run_inner_pytest(tmp_path, source=source, skips=SKIPS, OTTLA_REQUIRE_ALL="1")
    assert outcomes(output) == {"test_skips_listed": {"FAILED"}}
    assert "exit status 1" in output


@pytest.mark.slow
def test_skip_of_a_whole_module_fails_when_unlisted(tmp_path: Path) -> None:
    source = "import pytest\npytest.importorskip('ottla_planted_no_such_module')\n"
    output = run_inner_pytest(tmp_path, source=source, OTTLA_REQUIRE_ALL="0")
    assert "without an entry in the list of allowed skips" in output
    assert "exit status 0" not in output


@pytest.mark.slow
def test_workers_agree_on_the_names_of_binary_parameters(tmp_path: Path) -> None:
    source = (
        "import os, pytest\n"
        "@pytest.mark.parametrize('payload', [b'plain', b'\\x00' + os.urandom(8)])\n"
        "def test_planted(payload):\n    assert payload\n"
    )
    output = run_inner_pytest(tmp_path, source=source, OTTLA_REQUIRE_ALL="0")
    assert set(outcomes(output)) == {"test_planted[plain]", "test_planted[payload]"}, output
    assert "2 passed" in output
