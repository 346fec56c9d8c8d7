"""The programs of `clients/`, one a language, built as their READMEs say.

Owns which languages there are, what each needs on a machine, and building: in a copy of the
program's folder and of the public contracts below `.cache/`, named for what it is made of. The
commands are those that a README shows; variables say where protoc and Google's protos are.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import google.rpc.status_pb2

from .toolchains import CACHE, MissingToolchain, StockClient, go_variables, run_build

ROOT = Path(__file__).resolve().parents[2]
PROTOS = ROOT / "proto"
_CPP_PACKAGES = ("grpc++", "protobuf", "zlib")
# Compiled dependencies outlive a change of the program or the contracts.
_CRATES = CACHE / "rust-crates"


@dataclass(frozen=True)
class Language:
    """A program in one language: what it is made of, and how."""

    name: str
    title: str
    commands: Sequence[str]
    """What has to be installed, or else `missing` says what isn't."""
    missing: str
    sources: Sequence[str]
    """Files of its folder. Whatever else lies there was made from them."""
    steps: Sequence[str]
    """Command lines that build it."""
    run: str
    """Command line that runs it, without arguments."""

    @property
    def folder(self) -> Path:
        return ROOT / "clients" / self.name

    @property
    def program(self) -> Path:
        """The source that the documentation shows."""
        return self.folder / self.sources[-1]


GO = Language(
    name="go",
    title="Go",
    commands=("go",),
    missing="Go is not installed",
    sources=("go.mod", "go.sum", "generate.sh", "main.go"),
    steps=("sh generate.sh", "go build -o round-trip ."),
    run="./round-trip",
)
NODE = Language(
    name="node",
    title="TypeScript (Node.js)",
    commands=("node", "npm"),
    missing="Node.js is not installed",
    sources=(
        ".npmrc",
        "package.json",
        "package-lock.json",
        "tsconfig.json",
        "generate.sh",
        "round-trip.ts",
    ),
    steps=("npm ci", "npm run build"),
    run="node built/round-trip.js",
)
JAVA = Language(
    name="java",
    title="Java",
    commands=("java", "mvn"),
    missing="Java or Maven is not installed",
    sources=("pom.xml", "src/main/java/RoundTrip.java"),
    steps=("mvn --batch-mode --quiet compile",),
    run="java -cp 'target/classes:target/dependency/*' RoundTrip",
)
RUST = Language(
    name="rust",
    title="Rust",
    commands=("cargo",),
    missing="Rust is not installed",
    sources=("Cargo.toml", "Cargo.lock", "build.rs", "src/main.rs"),
    steps=("cargo build --locked",),
    run="target/debug/ottla-round-trip",
)
CPP = Language(
    name="cpp",
    title="C++",
    commands=("g++", "make", "pkg-config", "protoc", "grpc_cpp_plugin"),
    missing="gRPC for C++ is not installed (make interop installs it)",
    sources=("Makefile", "round-trip.cc"),
    steps=("make -j2",),
    run="./round-trip",
)
LANGUAGES = {each.name: each for each in (GO, NODE, JAVA, RUST, CPP)}


def built(language: Language) -> StockClient:
    """The program, built if need be; one build of a language at a time on this machine.

    Raises:
        MissingToolchain: the machine lacks what it takes.
        RuntimeError: the build failed.
    """
    check_toolchain(language)
    CACHE.mkdir(parents=True, exist_ok=True)
    target = build_folder(language)
    folder = target / "clients" / language.name
    with lock(language.name):
        if not (target / "complete").exists():
            _lay_out(language, target)
            for step in language.steps:
                run_build(shlex.split(step), folder, build_variables(language))
            if language is RUST:
                (folder / language.run).parent.mkdir(parents=True)
                shutil.copy(
                    _CRATES / Path(language.run).relative_to("target"), folder / language.run
                )
            (target / "complete").touch()
    return StockClient(tuple(shlex.split(language.run)), {}, folder)


def check_toolchain(language: Language) -> None:
    """Raises MissingToolchain if the machine can't build the program."""
    found = all(shutil.which(name) for name in language.commands)
    if found and language is CPP:
        asked = subprocess.run(["pkg-config", "--exists", *_CPP_PACKAGES], check=False)
        found = asked.returncode == 0
    if not found:
        raise MissingToolchain(language.missing)


def build_folder(language: Language) -> Path:
    """Where it is built: named for every file that goes into it."""
    hashed = hashlib.sha256()
    folder = language.folder
    for path in (*(folder / name for name in language.sources), *api_protos()):
        content = path.read_bytes()
        hashed.update(f"{path.relative_to(ROOT)} {len(content)}\n".encode())
        hashed.update(content)
    return CACHE / f"round-trip-{language.name}-{hashed.hexdigest()[:12]}"


def api_protos() -> list[Path]:
    """The public contracts."""
    return sorted((PROTOS / "ottla" / "api").rglob("*.proto"))


def _lay_out(language: Language, target: Path) -> None:
    """Sources and contracts, beside each other as in the repository; what lay there is gone."""
    shutil.rmtree(target, ignore_errors=True)
    for path in (*(language.folder / name for name in language.sources), *api_protos()):
        copy = target / path.relative_to(ROOT)
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, copy)


def build_variables(language: Language) -> dict[str, str]:
    """Where a build finds what a README lets people choose, and homes where there is none."""
    googleapis = Path(google.rpc.status_pb2.__file__).parents[2]
    variables = {"PROTOC": str(_protoc()), "GOOGLEAPIS": str(googleapis)}
    if language is GO:
        variables |= go_variables()
    if language is RUST:
        variables["CARGO_TARGET_DIR"] = str(_CRATES)
    return variables


def _protoc() -> Path:
    """A program that is the protoc of these tests' environment."""
    program = CACHE / f"protoc-{hashlib.sha256(sys.executable.encode()).hexdigest()[:12]}"
    if not program.exists():
        unfinished = program.with_suffix(f".{os.getpid()}")
        unfinished.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m grpc_tools.protoc "$@"\n')
        unfinished.chmod(0o755)
        unfinished.rename(program)
    return program


@contextlib.contextmanager
def lock(name: str) -> Iterator[None]:
    """Holds what is built under that name, among all processes of this machine."""
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
