"""Stock clients in other languages, and judges written by others, built where it is possible.

What is built stands in `.cache/`, named for what pins its versions.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "interop"
_BUILD_SECONDS = 540
# Suites written by others: the HTTP/2 conformance suite, and gRPC's own interoperability client.
_JUDGES = {
    "h2spec": "github.com/summerwind/h2spec/cmd/h2spec",
    "client": "google.golang.org/grpc/interop/client",
}


class MissingToolchain(Exception):  # noqa: N818 - reads as the condition it is
    """This machine cannot build the client; the message says why."""


@dataclass(frozen=True)
class StockClient:
    """A command that runs one scenario, and what it needs in its environment."""

    command: tuple[str, ...]
    variables: dict[str, str]
    folder: Path | None = None
    """Where the command runs, if that matters."""

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, **self.variables}


def node_client() -> StockClient:
    """The program of `node/`, with grpc-js at the version its lock file names."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise MissingToolchain("Node.js is not installed")
    folder = HERE / "node"
    lock = folder / "package-lock.json"
    target = CACHE / f"node-{digest(lock)}"
    if not (target / "complete").exists():
        target.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(folder / name, target)
        run_build([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], target, {})
        (target / "complete").touch()
    variables = {"NODE_PATH": str(target / "node_modules")}
    return StockClient((node, str(folder / "client.js")), variables)


def go_client() -> StockClient:
    """The program of `go/`, built with grpc-go at the version its module file names."""
    go = shutil.which("go")
    if go is None:
        raise MissingToolchain("Go is not installed")
    folder = HERE / "go"
    sources = [folder / name for name in ("go.mod", "go.sum", "main.go")]
    target = CACHE / f"go-{digest(*sources)}"
    program = target / "client"
    if not program.exists():
        target.mkdir(parents=True, exist_ok=True)
        # Named at the end, so that a build cut short is not taken for a program.
        unfinished = target / f"client.{os.getpid()}"
        run_build(
            [go, "build", "-mod=readonly", "-o", str(unfinished), "."], folder, go_variables()
        )
        unfinished.rename(program)
    return StockClient((str(program),), {})


def judge(name: str) -> Path:
    """A program of `judges/` at the version its module file names: "h2spec" or "client"."""
    go = shutil.which("go")
    if go is None:
        raise MissingToolchain("Go is not installed")
    folder = HERE / "judges"
    target = CACHE / f"judges-{digest(folder / 'go.mod', folder / 'go.sum')}"
    program = target / name
    if not program.exists():
        target.mkdir(parents=True, exist_ok=True)
        unfinished = target / f"{name}.{os.getpid()}"
        run_build(
            [go, "build", "-mod=readonly", "-o", str(unfinished), _JUDGES[name]],
            folder,
            go_variables(),
        )
        unfinished.rename(program)
    return program


def go_variables() -> dict[str, str]:
    """Go wants a home for its caches; a machine without one gets it here."""
    if "HOME" in os.environ:
        return {}
    return {"GOCACHE": str(CACHE / "go-build"), "GOPATH": str(CACHE / "go-path")}


def digest(*files: Path) -> str:
    """A name for what a build is made of."""
    return hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:12]


def run_build(command: list[str], folder: Path, variables: dict[str, str]) -> None:
    """Runs a build's step; raises RuntimeError with what it complained of."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=_BUILD_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} failed:\n{done.stderr}")
