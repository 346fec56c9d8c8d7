"""Builds a release: checks the changelog, takes the new baseline of the protos, fills dist/.

Run through `make release`, after `make verify`. The version is pyproject.toml's; CHANGELOG.md has
to have a section for it, dated and not empty, unless it is a development version, whose changes
stand under "Unreleased". Nothing is uploaded or tagged; the last lines say what is left to do.
"""

from __future__ import annotations

import re
import shutil
import tomllib

from built_artifacts import ROOT, build
from check_protos import BASELINE, breaking, write_baseline


def changes_of(version: str, *, changelog: str) -> str:
    """The changelog's section for a version.

    Raises:
        SystemExit: there is none, it is empty, or it has no date where it needs one.
    """
    title = "Unreleased" if ".dev" in version else re.escape(version) + r" - \d{4}-\d\d-\d\d"
    section = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", changelog, flags=re.M | re.S)
    if section is None or not section[1].strip():
        raise SystemExit(f"CHANGELOG.md has no entries below '## {title}'")
    return section[1].strip()


def main() -> int:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    version = project["version"]
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    changes = changes_of(version, changelog=changelog)
    if findings := breaking(ROOT):
        raise SystemExit("\n".join(["the protos break the last release:", *findings]))
    write_baseline(ROOT)
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    sdist, wheel = build(ROOT / "dist")
    print(changes)
    print(f"\nbuilt dist/{sdist.name} and dist/{wheel.name}")
    print(f"left to do: commit {BASELINE}, tag v{version}, upload dist/")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
