"""The coordinator's draft contracts stay compilable against the contracts they import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[3]
DRAFTS = ROOT / "services/coordinator/drafts"


def test_the_coordinators_drafts_compile_against_the_contracts(tmp_path: Path) -> None:
    drafts = sorted(str(path.relative_to(DRAFTS)) for path in DRAFTS.rglob("*.proto"))
    assert drafts == [
        "ottla/api/group/v1/group.proto",
        "ottla/api/transaction/v1/transaction.proto",
    ]
    command = [
        *(sys.executable, "-m", "grpc_tools.protoc", f"-I{DRAFTS}", f"-I{ROOT / 'proto'}"),
        f"--descriptor_set_out={tmp_path / 'drafts.binpb'}",
        *drafts,
    ]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.returncode == 0
