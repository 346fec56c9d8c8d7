"""What runs on every change is what the README tells people to run."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

from unit.repository.source_tree import ROOT


def test_ci_runs_the_readmes_test_command_at_the_root_of_the_clone(tmp_path: Path) -> None:
    make = tmp_path / "make"
    make.write_text('#!/bin/sh\npwd\necho "make $*"\nexit 7\n', encoding="utf-8")
    make.chmod(0o755)
    done = subprocess.run(
        [str(ROOT / ".ci" / "run")],
        cwd=tmp_path,
        env={"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    where, command = done.stdout.splitlines()
    assert (where, done.returncode) == (str(ROOT), 7)
    words = [word for word in command.split() if not word.startswith("-")]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"\n{' '.join(words)} " in readme
    assert words == ["make", "test"]
