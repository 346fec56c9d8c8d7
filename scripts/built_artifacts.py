"""Builds the sdist and the wheel, and makes the small environments they are tried in.

Building uses the hatchling of the environment this runs in (its version is in the lock), never an
isolated one, so that nothing unpinned is fetched.
"""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
QUIET = {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore"}


def run(*command: str | Path, cwd: Path = ROOT) -> str:
    """Runs a command to its end and returns what it printed; a failure ends the program."""
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    words = [str(word) for word in command]
    ran = subprocess.run(
        words, cwd=cwd, env=clean | QUIET, capture_output=True, text=True, check=False
    )
    if ran.returncode != 0:
        raise SystemExit(f"{' '.join(words)} failed\n{ran.stdout}{ran.stderr}")
    return ran.stdout


def build(out: Path) -> tuple[Path, Path]:
    """Builds into `out`, the wheel from the sdist as users' tools would, and returns both."""
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return next(out.glob("*.tar.gz")), next(out.glob("*.whl"))


def fresh_environment(folder: Path) -> Path:
    """Makes an empty virtual environment and returns its interpreter."""
    venv.create(folder, with_pip=True, clear=True)
    return folder / "bin" / "python"


def install_locked(python: Path, lock: str) -> None:
    """Installs exactly what `requirements/<lock>.lock` names."""
    options = ("--quiet", "--no-deps", "--only-binary", ":all:", "--require-hashes")
    run(python, "-m", "pip", "install", *options, "-r", ROOT / "requirements" / f"{lock}.lock")
