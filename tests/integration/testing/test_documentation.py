"""The example of the page about testing runs as it stands there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "testing.md"
BLOCK = re.compile(r"^```python\n# (\w+\.py)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def files_of(page: str) -> dict[str, str]:
    """The page's files by name; every block of Python is one."""
    files = dict(BLOCK.findall(page))
    assert len(files) == page.count("```python")
    return files


@pytest.mark.slow
def test_the_example_passes_as_it_stands(tmp_path: Path) -> None:
    files = files_of(PAGE.read_text(encoding="utf-8"))
    assert sorted(files) == ["conftest.py", "late_flights.py", "test_late_flights.py"]
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    environ = {key: value for key, value in os.environ.items() if not key.startswith("OTTLA_")}
    options = ["-q", "-W", "error", "-p", "no:cacheprovider"]
    options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *options, "."],
        cwd=tmp_path,
        env={**environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "3 passed" in ran.stdout
    assert ran.stderr == ""
