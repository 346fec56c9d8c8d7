"""Skips are allowed only from a committed list, and are shown where nobody can miss them.

A pytest plugin. `tests/skips.toml` names, for a pattern of test ids, the reason and the condition
under which the skip is accepted; a skip that no entry covers, or whose condition does not hold on
this machine, is a failure. `OTTLA_REQUIRE_ALL=1` makes every skip one. An expected failure counts
as a skip. The run ends with the list, right above pytest's closing line.
"""

from __future__ import annotations

import fnmatch
import functools
import importlib.util
import os
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

REQUIRE_ALL = "OTTLA_REQUIRE_ALL"


@functools.cache
def _command_fails(command: tuple[str, ...]) -> bool:
    try:
        ran = subprocess.run(command, capture_output=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return True
    return ran.returncode != 0


CONDITIONS: Mapping[str, Callable[[Any], bool]] = {
    "missing_command": lambda name: shutil.which(name) is None,
    "missing_module": lambda name: importlib.util.find_spec(name) is None,
    "missing_variable": lambda name: name not in os.environ,
    "failing_command": lambda command: _command_fails(tuple(command)),
    "other_platform_than": lambda name: not sys.platform.startswith(name),
    "other_user_than_root": lambda _: os.getuid() != 0,
}


@dataclass(frozen=True)
class AllowedSkip:
    """One entry of the list: which tests, why, and the conditions that must all hold."""

    test: str
    reason: str
    when: Mapping[str, Any]

    def holds(self) -> bool:
        return all(CONDITIONS[name](value) for name, value in self.when.items())

    def matches(self, nodeid: str) -> bool:
        # "[" begins a parameter in a test id, not a class of characters.
        return fnmatch.fnmatchcase(nodeid, self.test.replace("[", "[[]"))


def read_list(path: Path) -> Sequence[AllowedSkip]:
    """Reads the entries.

    Raises:
        ValueError: an entry lacks its test, reason or condition, or names something unknown.
    """
    entries = tomllib.loads(path.read_text(encoding="utf-8")).get("skip", [])
    for entry in entries:
        if set(entry) != {"test", "reason", "when"} or not entry["reason"] or not entry["when"]:
            raise ValueError(f"{path}: a skip has exactly test, reason and when: {entry}")
        if unknown := set(entry["when"]) - set(CONDITIONS):
            raise ValueError(f"{path}: unknown conditions {sorted(unknown)} in {entry['test']}")
    return [AllowedSkip(**entry) for entry in entries]


@dataclass(eq=False)  # plugins are compared by identity
class _SkipKeeper:
    allowed: Sequence[AllowedSkip]

    def verdict(self, nodeid: str, why: str) -> str | None:
        """Why a skip fails the run; None if it is accepted."""
        if os.environ.get(REQUIRE_ALL) == "1":
            return f"skipped, but {REQUIRE_ALL}=1 asks for every test: {why}"
        entries = [entry for entry in self.allowed if entry.matches(nodeid)]
        if not entries:
            return f"skipped without an entry in the list of allowed skips: {why}"
        if not any(entry.holds() for entry in entries):
            reasons = "; ".join(entry.reason for entry in entries)
            return f"skipped although the condition of its entry does not hold ({reasons}): {why}"
        return None

    def judge(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        if report.outcome != "skipped":
            return
        failure = self.verdict(report.nodeid, _why(report))
        if failure is not None:
            report.outcome = "failed"
            report.longrepr = failure
            vars(report).pop("wasxfail", None)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self.judge(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_make_collect_report(
        self,
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        self.judge(report)
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> Iterator[None]:
        yield
        # From the reports, which come together here, whichever worker ran the test.
        stats = terminalreporter.stats
        seen = [*stats.get("skipped", ()), *stats.get("xfailed", ())]
        terminalreporter.section(f"skips: {len(seen) or 'none'}", sep="-")
        groups = Counter((report.nodeid.partition("[")[0], _why(report)) for report in seen)
        for (test, why), count in groups.items():
            times = f" ({count} times)" if count > 1 else ""
            terminalreporter.line(f"{test}: {why}{times}")


def _why(report: pytest.TestReport | pytest.CollectReport) -> str:
    return getattr(report, "wasxfail", None) or _reason(report.longrepr)


def _reason(longrepr: object) -> str:
    text = longrepr[2] if isinstance(longrepr, tuple) else str(longrepr)
    return text.removeprefix("Skipped: ").strip()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addini("skip_list", "file of allowed skips, relative to the root", default="")


def pytest_configure(config: pytest.Config) -> None:
    name = config.getini("skip_list")
    allowed = read_list(config.rootpath / name) if name else []
    config.pluginmanager.register(_SkipKeeper(allowed), "ottla-skip-keeper")
