"""The tree keeps the rules of the house; each rule is also shown to find a planted violation."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kit.skip_list import read_list
from unit.repository import source_tree, tidy_rules
from unit.repository.source_tree import EVERYWHERE, PRODUCT, ROOT, python_files, shown, walk

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TOOL = PROJECT["tool"]
SUPERVISOR = "services/runtime/ottla_runtime/supervision.py"


def violations(rule: Callable[[str], Iterator[str]], files: list[Path]) -> list[str]:
    return [
        f"{shown(path)}:{line}" for path in files for line in rule(path.read_text(encoding="utf-8"))
    ]


def source_roots() -> list[Path]:
    """The importable packages that stand in clients/*/ and services/*/."""
    return [
        path.parent for top in PRODUCT for path in sorted((ROOT / top).glob("*/ottla*/__init__.py"))
    ]


def test_modules_classes_and_functions_stay_within_the_hard_limits() -> None:
    assert violations(tidy_rules.oversized, python_files(*EVERYWHERE)) == []


def test_tasks_are_started_only_by_a_group_or_the_supervisor_and_are_named() -> None:
    files = [path for path in python_files(*PRODUCT) if shown(path) != SUPERVISOR]
    assert violations(tidy_rules.unowned_tasks, files) == []


def test_every_disabled_rule_says_its_reason_on_its_line() -> None:
    files = [path for path in python_files(*EVERYWHERE) if "unit/repository" not in shown(path)]
    assert violations(tidy_rules.unreasoned_suppressions, files) == []


def test_every_rule_ignored_in_the_settings_says_its_reason_on_its_line() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    entries = re.findall(r'^    "([A-Z]+\d*)",\s*(#.*)?$', text, flags=re.MULTILINE)
    listed = set(TOOL["ruff"]["lint"]["ignore"])
    listed |= {
        code for codes in TOOL["ruff"]["lint"]["per-file-ignores"].values() for code in codes
    }
    assert {code for code, _ in entries} == listed
    assert [code for code, rest in entries if not re.search(r"#.*\w{2,}", rest)] == []


def test_no_module_is_named_for_a_drawer() -> None:
    names = [shown(path) for path in python_files(*EVERYWHERE)]
    assert [name for name in names if tidy_rules.forbidden_name(Path(name).stem)] == []
    folders = {part for name in names for part in Path(name).parts[:-1]}
    assert {folder for folder in folders if tidy_rules.forbidden_name(folder)} == set()


def test_lists_of_source_roots_agree_with_the_tree() -> None:
    packages = [path.relative_to(ROOT).as_posix() for path in source_roots()]
    folders = [Path(package).parent.as_posix() for package in packages]
    names = [Path(package).name for package in packages]
    assert sorted(TOOL["hatch"]["build"]["targets"]["wheel"]["packages"]) == sorted(packages)
    assert sorted(TOOL["pytest"]["ini_options"]["pythonpath"]) == sorted(
        [*folders, "tests", "scripts"]
    )
    assert sorted(TOOL["mypy"]["mypy_path"]) == sorted([*folders, "tests", "scripts"])
    assert sorted(TOOL["mypy"]["packages"]) == sorted(names)
    assert sorted(TOOL["importlinter"]["root_packages"]) == sorted(names)
    assert set(names) <= set(TOOL["ruff"]["lint"]["isort"]["known-first-party"])


def test_every_source_root_is_marked_as_typed() -> None:
    assert [shown(path) for path in source_roots() if not (path / "py.typed").is_file()] == []


def test_every_folder_of_modules_is_a_regular_package() -> None:
    modules = [path for path in walk(*PRODUCT, "tests", "bench", "demo") if path.suffix == ".py"]
    folders = {path.parent for path in modules if "examples" not in path.parts}
    top_level = {ROOT / "tests"}
    bare = [path for path in folders - top_level if not (path / "__init__.py").is_file()]
    assert sorted(shown(path) for path in bare) == []


def test_nothing_but_generated_files_stands_in_the_generated_packages() -> None:
    for package in source_tree.GENERATED_PACKAGES:
        names = [path.name for path in package.rglob("*") if path.suffix in {".py", ".pyi"}]
        assert [name for name in names if "_pb2" not in name and name != "__init__.py"] == []


def test_locks_name_hashes_and_no_place_to_fetch_from() -> None:
    locks = sorted((ROOT / "requirements").glob("*.lock"))
    assert {lock.stem for lock in locks} >= {"base", "dev", "proto", "runtime"}
    for lock in locks:
        text = lock.read_text(encoding="utf-8")
        assert re.findall(r"https?:|--\w*index|--find-links|--trusted-host", text) == []
        pinned = re.findall(
            r"^[A-Za-z0-9][^\n]*?==[^\n]*\\\n(?:    --hash=sha256:\w{64}[ \\]*\n)+", text, re.M
        )
        assert len(pinned) == len(re.findall(r"^[A-Za-z0-9]", text, re.M))


def test_oldest_runtime_is_the_lowest_that_the_dependencies_allow() -> None:
    pinned = [word.replace("==", ">=") for word in PROJECT["dependency-groups"]["oldest"]]
    allowed = [word.split(",")[0] for word in PROJECT["project"]["dependencies"]]
    assert set(pinned) <= set(allowed)


def test_no_file_names_the_host_of_a_package_registry() -> None:
    hosts = re.compile("|".join(["pypi" + r"\.org", "python" + "hosted", "npmjs" + r"\.(org|com)"]))
    suffixes = {".py", ".toml", ".lock", ".sh", ".md", ".yaml", ".yml", ".json", ".cfg", ".txt"}
    files = [path for path in walk(*EVERYWHERE, "docs", "deploy", "proto", "requirements", ".ci")
             if path.suffix in suffixes or not path.suffix]  # fmt: skip
    files += [path for path in ROOT.iterdir() if path.is_file()]
    found = [shown(path) for path in files if hosts.search(path.read_text("utf-8", "replace"))]
    assert found == []


def test_every_allowed_skip_names_tests_that_exist() -> None:
    entries = read_list(ROOT / "tests" / "skips.toml")
    missing = [entry.test for entry in entries if not list(ROOT.glob(entry.test.split("::")[0]))]
    assert missing == []


@pytest.mark.parametrize(
    ("rule", "planted", "expected"),
    [
        (tidy_rules.oversized, "x = 1\n" * 501, ["module has 501 lines, at most 500"]),
        (
            tidy_rules.oversized,
            "def f():\n" + "    x = 1\n" * 60,
            ["1: function f has 61 lines, at most 60"],
        ),
        (
            tidy_rules.oversized,
            "class C:\n" + "    x = 1\n" * 250,
            ["1: class C has 251 lines, at most 250"],
        ),
        (
            tidy_rules.unowned_tasks,
            "asyncio.create_task(f())",
            ["1: asyncio.create_task is no TaskGroup or supervisor"],
        ),
        (
            tidy_rules.unowned_tasks,
            "asyncio.get_running_loop().create_task(f(), name='x')",
            ["1: asyncio.get_running_loop().create_task is no TaskGroup or supervisor"],
        ),
        (tidy_rules.unowned_tasks, "group.create_task(f())", ["1: a task without a name"]),
        (
            tidy_rules.unowned_tasks,
            "async with asyncio.TaskGroup() as tasks:\n    tasks.create_task(f(), name='x')",
            [],
        ),
        (
            tidy_rules.unowned_tasks,
            "def start(tasks: TaskGroup):\n    tasks.create_task(f())",
            ["2: a task without a name"],
        ),
        (tidy_rules.unowned_tasks, "loop.create_task(f())  # noqa: OTL001 - kept in x", []),
        (tidy_rules.unowned_tasks, "self._group.create_task(f(), name='x')", []),
        (tidy_rules.unreasoned_suppressions, "x  # noqa", ["1: names no rule: x  # noqa"]),
        (
            tidy_rules.unreasoned_suppressions,
            "x  # noqa: S101",
            ["1: says no reason: x  # noqa: S101"],
        ),
        (tidy_rules.unreasoned_suppressions, "x  # noqa: BLE001 - the root of a task", []),
        (
            tidy_rules.unreasoned_suppressions,
            "x  # type: ignore[misc]",
            ["1: says no reason: x  # type: ignore[misc]"],
        ),
        (
            tidy_rules.unreasoned_suppressions,
            "x  # type: ignore[misc]  # noqa: B008",
            [
                "1: says no reason: x  # type: ignore[misc]  # noqa: B008",
            ]
            * 2,
        ),
        (tidy_rules.unreasoned_suppressions, "x  # type: ignore[misc]  # stubs lack it", []),
    ],
)
def test_rule_finds_what_is_planted(
    rule: Callable[[str], Iterator[str]], planted: str, expected: list[str]
) -> None:
    assert sorted(rule(planted)) == sorted(expected)


@pytest.mark.parametrize("name", ["utils", "_helpers", "common", "Manager"])
def test_drawer_names_are_recognised(name: str) -> None:
    assert tidy_rules.forbidden_name(name)
