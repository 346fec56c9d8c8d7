"""Tests of the command line see nothing of what the user who runs them has set up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# crc32c reads a file of its own when it is first imported, which must not happen in a loop.
import ottla.protocol.batch  # noqa: F401 - for its own imports


@pytest.fixture(autouse=True)
def no_contexts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "xdg-config"))
    for name in [name for name in os.environ if name.startswith("OTTLA_")]:
        monkeypatch.delenv(name)
