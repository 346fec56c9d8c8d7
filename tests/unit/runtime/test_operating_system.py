"""What is asked of the operating system."""

from __future__ import annotations

import resource
import subprocess
import sys

import pytest

from ottla_runtime.failures import StartError
from ottla_runtime.operating_system import raise_open_files_limit


class Limits:
    """The limits of a process that does not exist."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = (soft, hard)

    def get(self, which: int) -> tuple[int, int]:
        assert which == resource.RLIMIT_NOFILE
        return self.now

    def set(self, which: int, limits: tuple[int, int]) -> None:
        self.now = limits


def _limits(monkeypatch: pytest.MonkeyPatch, soft: int, hard: int) -> Limits:
    limits = Limits(soft, hard)
    monkeypatch.setattr(resource, "getrlimit", limits.get)
    monkeypatch.setattr(resource, "setrlimit", limits.set)
    return limits


def test_limit_is_raised_to_what_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = _limits(monkeypatch, 256, 100_000)
    assert raise_open_files_limit(4_096) == 100_000
    assert limits.now == (100_000, 100_000)


def test_unlimited_is_used_only_as_far_as_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = _limits(monkeypatch, 256, resource.RLIM_INFINITY)
    assert raise_open_files_limit(4_096) == 4_096
    assert limits.now == (4_096, resource.RLIM_INFINITY)


def test_limit_that_is_too_low_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = _limits(monkeypatch, 256, 1_024)
    with pytest.raises(StartError, match="limit of open files is 1024, and 4096 are needed") as why:
        raise_open_files_limit(4_096)
    assert "ulimit -n 4096" in str(why.value)
    assert limits.now == (256, 1_024)


MESSAGES = """
import resource, sys
from ottla_runtime.operating_system import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
[bytearray(1 << 20) for _ in range(8)]
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(100):
    [bytearray(1 << 20) for _ in range(8)]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
def test_pages_of_freed_messages_are_there_for_the_next() -> None:
    def faults(what: str) -> int:
        command = [sys.executable, "-c", MESSAGES, what]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    assert faults("keep") < 1_000 < faults("as it comes")
