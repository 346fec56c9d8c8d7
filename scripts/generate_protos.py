"""Generates the Python modules of `proto/` into the client package.

Owns: `clients/python/ottla/{api,internal,storage}`, which hold generated files and nothing else;
a file there that no proto accounts for is removed. The output is committed. Run it through
`make proto`, which provides the pinned generator (`requirements/proto.lock`); `--check` writes
nothing, lists what differs and exits 1. It does not lint protos: that is `scripts/check_protos.py`.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from importlib import resources
from pathlib import Path

import google.rpc.status_pb2
import grpc_tools
from google.protobuf import descriptor_pb2

ROOT = Path(__file__).resolve().parent.parent
PROTO_ROOT = ROOT / "proto"
PYTHON_ROOT = ROOT / "clients" / "python"
GENERATED_PACKAGES = ("ottla/api", "ottla/internal", "ottla/storage")
GENERATED_SUFFIXES = (".py", ".pyi")


def proto_files() -> list[str]:
    """Paths of all protos relative to `proto/`, sorted; refuses one outside the known packages."""
    names = sorted(path.relative_to(PROTO_ROOT).as_posix() for path in PROTO_ROOT.rglob("*.proto"))
    strays = [name for name in names if not name.startswith(GENERATED_PACKAGES)]
    if strays:
        raise SystemExit(f"protos outside {', '.join(GENERATED_PACKAGES)}: {', '.join(strays)}")
    return names


def include_paths() -> list[str]:
    """Where imports are looked up: ours, then google/protobuf, then google/rpc and google/type."""
    well_known = str(resources.files(grpc_tools) / "_proto")
    googleapis = str(Path(google.rpc.status_pb2.__file__).parent.parent.parent)
    return [f"-I{PROTO_ROOT}", f"-I{well_known}", f"-I{googleapis}"]


def run_protoc(arguments: list[str], names: list[str]) -> None:
    """Runs the bundled protoc; its messages go to the terminal, a failure ends the program."""
    scripts = str(Path(sys.executable).parent)  # protoc finds protoc-gen-mypy through PATH
    environment = {**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ.get('PATH', '')}"}
    command = [sys.executable, "-m", "grpc_tools.protoc", *include_paths(), *arguments, *names]
    if subprocess.run(command, env=environment, check=False).returncode != 0:
        raise SystemExit("protoc failed")


def describe(names: list[str], *, out: Path) -> descriptor_pb2.FileDescriptorSet:
    """Compiles the protos to descriptors, kept in `out` with comments and imports."""
    run_protoc([f"--descriptor_set_out={out}", "--include_imports", "--include_source_info"], names)
    return descriptor_pb2.FileDescriptorSet.FromString(out.read_bytes())


def generate(names: list[str], *, out: Path) -> None:
    """Writes modules, stubs and package files for `names` below `out`."""
    descriptors = describe(names, out=out / "descriptors.binpb")
    (out / "descriptors.binpb").unlink()
    run_protoc([f"--python_out={out}", f"--mypy_out=quiet:{out}"], names)
    with_services = [file.name for file in descriptors.file if file.service and file.name in names]
    if with_services:
        run_protoc([f"--grpc_python_out={out}", f"--mypy_grpc_out=quiet:{out}"], with_services)
    write_package_files(out)


def write_package_files(out: Path) -> None:
    """Adds the `__init__.py` of each generated package (tools need regular packages)."""
    for package in GENERATED_PACKAGES:
        top = out / package
        if not top.is_dir():
            continue
        for folder in [top, *sorted(path for path in top.rglob("*") if path.is_dir())]:
            dotted = folder.relative_to(out).as_posix()
            text = f'"""Generated from `proto/{dotted}` by `make proto`; do not edit."""\n'
            (folder / "__init__.py").write_text(text, encoding="utf-8")


def generated_files(root: Path) -> dict[str, bytes]:
    """Every source file below the generated packages of `root`, by its relative path."""
    return {
        path.relative_to(root).as_posix(): path.read_bytes()
        for package in GENERATED_PACKAGES
        for path in (root / package).rglob("*")
        if path.is_file() and path.suffix in GENERATED_SUFFIXES
    }


def differences(fresh: dict[str, bytes], committed: dict[str, bytes]) -> list[str]:
    """One line for each file that is missing, stale or not generated at all."""
    lines = [f"missing: {name}" for name in sorted(fresh.keys() - committed.keys())]
    lines += [f"not generated: {name}" for name in sorted(committed.keys() - fresh.keys())]
    shared = fresh.keys() & committed.keys()
    return lines + [f"stale: {name}" for name in sorted(shared) if fresh[name] != committed[name]]


def synchronise(fresh: dict[str, bytes], committed: dict[str, bytes]) -> None:
    """Makes the committed tree equal to `fresh`, touching only files that differ."""
    for name in committed.keys() - fresh.keys():
        (PYTHON_ROOT / name).unlink()
    for name, content in fresh.items():
        if committed.get(name) != content:
            path = PYTHON_ROOT / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="exit 1 when the output is stale")
    arguments = parser.parse_args()
    names = proto_files()
    if not names:
        raise SystemExit(f"no protos below {PROTO_ROOT}")
    with tempfile.TemporaryDirectory(prefix="ottla-protos-") as folder:
        generate(names, out=Path(folder))
        fresh = generated_files(Path(folder))
    committed = generated_files(PYTHON_ROOT)
    changes = differences(fresh, committed)
    print("\n".join([*changes, f"{len(names)} protos, {len(changes)} differences"]))
    if not arguments.check:
        synchronise(fresh, committed)
    return 1 if arguments.check and changes else 0


if __name__ == "__main__":
    raise SystemExit(main())
