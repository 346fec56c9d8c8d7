"""Checks the protos: style, comments on every element, and nothing that breaks who speaks them.

`proto/baseline.binpb` is an image of the last release. Public and internal packages are held to
buf's FILE rules against it, stored records to WIRE, since only their bytes outlive a build. The
baseline is replaced by `make release` alone; before 0.1.0 also by `--replace-baseline`, which the
changelog has to mention. Compared with the current branch a check would find nothing once a break
is committed, hence the image.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINE = Path("proto") / "baseline.binpb"
STORED = ("proto/ottla/storage",)
SPOKEN = ("proto/ottla/api", "proto/ottla/internal")


def run_buf(arguments: list[str], *, root: Path) -> list[str]:
    """Runs buf in `root` and returns its findings, one a line.

    Raises:
        RuntimeError: buf itself failed, for example on a proto that does not compile.
    """
    cache = ROOT / ".cache" / "buf"
    command = [str(Path(sys.executable).parent / "buf"), *arguments]
    ran = subprocess.run(
        command,
        cwd=root,
        env={**os.environ, "HOME": os.environ.get("HOME", str(cache)), "BUF_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=False,
    )
    if ran.returncode not in {0, 100}:  # 100 says that there are findings
        raise RuntimeError(f"buf {' '.join(arguments)}: {ran.stderr.strip()}")
    return ran.stdout.splitlines()


def lint(root: Path) -> list[str]:
    """Findings of the style and comment rules of buf.yaml."""
    return run_buf(["lint"], root=root)


def breaking(root: Path) -> list[str]:
    """Changes since the baseline that break generated code, other versions, or stored records."""
    findings: list[str] = []
    for rules, others in (("FILE", STORED), ("WIRE", SPOKEN)):
        settings = {"use": [rules], "ignore": list(others)}
        config = {"version": "v2", "modules": [{"path": "proto"}], "breaking": settings}
        arguments = ["breaking", f"--against={BASELINE}", f"--config={json.dumps(config)}"]
        findings += run_buf(arguments, root=root)
    return findings


def write_baseline(root: Path) -> None:
    """Makes the protos of `root` the ones that later versions are compared with."""
    run_buf(["build", "--exclude-source-info", f"--output={BASELINE}"], root=root)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--replace-baseline", action="store_true", help="only before 0.1.0")
    if parser.parse_args().replace_baseline:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        if not project["version"].startswith("0.1.0.dev"):
            raise SystemExit("the baseline is replaced by `make release` alone since 0.1.0")
        write_baseline(ROOT)
    findings = [*lint(ROOT), *breaking(ROOT)]
    print("\n".join([*findings, f"protos: {len(findings)} findings"]))
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
