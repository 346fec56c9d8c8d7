"""Checks what users get: a wheel that is complete, whose base installs alone and extras run.

`pip install ottla` is the client library. In an environment that has the base dependencies and
nothing else, every module of `ottla` imports (`ottla.testing` excepted, which says that it needs
`ottla[server]`), and nothing of the server or the command line is loaded on the way.
`pip install 'ottla[cli,server]'` is the platform: `ottla up` gets ready, answers and ends well.
"""

from __future__ import annotations

import subprocess
import tempfile
import threading
import zipfile
from pathlib import Path

from built_artifacts import ROOT, build, fresh_environment, install_locked, run

START_SECONDS_MAX = 120
EXPORT = "export OTTLA_BOOTSTRAP="
NOT_IN_BASE = ("typer", "rich", "structlog", "pydantic", "uvloop", "hpack", "grpc_health", "h2")
IMPORTS_ALL = f"""
import importlib, pkgutil, sys, warnings
warnings.simplefilter("error")
import ottla
names = [module.name for module in pkgutil.walk_packages(ottla.__path__, "ottla.")]
names = [name for name in names if not name.startswith("ottla.testing")]
for name in names:
    importlib.import_module(name)
strangers = [name for name in {NOT_IN_BASE!r} if name in sys.modules]
services = [name for name in sys.modules if name.startswith(("ottla_broker", "ottla_controller"))]
assert not strangers and not services, (strangers, services)
print(len(names), "modules of ottla import from", ottla.__path__[0])
"""


def missing_from(wheel: Path) -> list[str]:
    """Source files of the product that the wheel lacks."""
    names = set(zipfile.ZipFile(wheel).namelist())
    roots = [path.parent for path in ROOT.glob("[cs]*/*/ottla*/py.typed")]
    sources = [path for root in roots for path in root.rglob("*")]
    wanted = {
        (root.name / path.relative_to(root)).as_posix()
        for root in roots
        for path in sources
        if path.is_relative_to(root) and path.suffix in {".py", ".pyi", ".typed"}
    }
    return sorted(wanted - names)


def check_base(wheel: Path, folder: Path) -> None:
    """Install the client library alone, and import all of it."""
    python = fresh_environment(folder / "base")
    install_locked(python, "base")
    run(python, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", wheel)
    run(python, "-m", "pip", "check")
    print(run(python, "-c", IMPORTS_ALL, cwd=folder).strip())


def check_platform(wheel: Path, folder: Path) -> None:
    """Install the command line and the services, run a platform and end it."""
    python = fresh_environment(folder / "platform")
    install_locked(python, "runtime")
    # The extras are resolved from what the lock has installed: one that it lacks is an error.
    extras = f"{wheel}[cli,server]"
    run(python, "-m", "pip", "install", "--quiet", "--no-index", extras)
    run(python, "-m", "pip", "check")
    ottla = python.with_name("ottla")
    print(run(ottla, "--version", cwd=folder).strip())
    command = [str(ottla), "up", "--data", str(folder / "data"), "--port", "0"]
    with subprocess.Popen(command, cwd=folder, stdout=subprocess.PIPE, text=True) as up:
        giving_up = threading.Timer(START_SECONDS_MAX, up.kill)
        giving_up.start()
        try:
            assert up.stdout is not None
            line = up.stdout.readline()
            if not line.startswith(EXPORT):
                raise SystemExit(f"`ottla up` of {wheel.name} did not get ready")
            bootstrap = line.removeprefix(EXPORT).strip()
            run(ottla, "topics", "create", "flights", "--bootstrap", bootstrap, cwd=folder)
        finally:
            up.terminate()
            code = up.wait()
            giving_up.cancel()
    if code != 0:
        raise SystemExit(f"`ottla up` of {wheel.name} ended with {code}")
    print(f"`ottla up` of {wheel.name}[cli,server] got ready, served and ended in good order")


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="ottla-wheel-") as folder:
        _, wheel = build(Path(folder) / "dist")
        if missing := missing_from(wheel):
            raise SystemExit(f"{wheel.name} lacks {', '.join(missing)}")
        check_base(wheel, Path(folder))
        check_platform(wheel, Path(folder))
    print(f"{wheel.name}: complete, and its base imports alone")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
