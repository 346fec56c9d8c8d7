"""Clients of ottla.api in other languages: stubs from stock generators, and programs on them.

What is built stands in `.cache/`, named for the protos, programs and versions it was made of.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import google.rpc.status_pb2
import grpc_tools

from .toolchains import (
    CACHE,
    MissingToolchain,
    StockClient,
    digest,
    go_variables,
    run_build,
)

HERE = Path(__file__).parent / "api"
PROTOS = Path(__file__).parent.parent.parent / "proto"
GO_MODULE = "github.com/ottla/ottla/clients/go"
_GO_PLUGINS = (
    "google.golang.org/protobuf/cmd/protoc-gen-go",
    "google.golang.org/grpc/cmd/protoc-gen-go-grpc",
)
_TS_OPTIONS = (
    "env=node,outputServices=grpc-js,oneof=unions-value,forceLong=bigint,esModuleInterop=true"
    ",useOptionals=messages"
)


def api_protos() -> list[Path]:
    """The public contracts."""
    return sorted((PROTOS / "ottla" / "api").rglob("*.proto"))


def go_api_client() -> StockClient:
    """The program of `api/go`, on stubs by protoc-gen-go and protoc-gen-go-grpc."""
    go = shutil.which("go")
    if go is None:
        raise MissingToolchain("Go is not installed")
    sources = [HERE / "go" / name for name in ("go.mod", "go.sum", "main.go")]
    target = CACHE / f"api-go-{digest(*sources, *api_protos())}"
    program = target / "client"
    if not program.exists():
        _fresh(target, sources)
        stubs = target / "stubs"
        stubs.mkdir()
        (stubs / "go.mod").write_text(f"module {GO_MODULE}\n\ngo 1.24.0\n", encoding="utf-8")
        run_build([go, "build", "-mod=readonly", "-o", ".", *_GO_PLUGINS], target, go_variables())
        module = f"module={GO_MODULE}"
        _generate(
            [f"--go_out={stubs}", f"--go_opt={module}"],
            [f"--go-grpc_out={stubs}", f"--go-grpc_opt={module}"],
            plugins={name: target / name for name in ("protoc-gen-go", "protoc-gen-go-grpc")},
        )
        run_build([go, "build", "-mod=readonly", "-o", "unfinished", "."], target, go_variables())
        (target / "unfinished").rename(program)
    return StockClient((str(program),), {})


def typescript_api_client() -> StockClient:
    """The program `api/node/client.ts`, on stubs by ts-proto, its types checked by tsc."""
    node, target = _node_folder()
    return StockClient((node, str(target / "built" / "client.js")), {})


def javascript_api_client() -> StockClient:
    """The program `api/node/dynamic.js`, which loads the protos when it starts."""
    node, target = _node_folder()
    variables = {"NODE_PATH": str(target / "node_modules")}
    return StockClient((node, str(HERE / "node" / "dynamic.js")), variables)


def java_api_client() -> StockClient:
    """The program of `api/java`, on stubs that Maven generates with protoc and its gRPC plugin."""
    java, maven = shutil.which("java"), shutil.which("mvn")
    if java is None or maven is None:
        raise MissingToolchain("Java or Maven is not installed")
    program = Path("src", "main", "java", "Client.java")
    sources = [HERE / "java" / name for name in (Path("pom.xml"), program)]
    target = CACHE / f"api-java-{digest(*sources, *api_protos())}"
    if not (target / "complete").exists():
        _fresh(target, sources[:1])
        shutil.copytree(HERE / "java" / "src", target / "src")
        shutil.copytree(PROTOS / "ottla" / "api", target / "src/main/protobuf/ottla/api")
        home = [] if "HOME" in os.environ else [f"-Dmaven.repo.local={CACHE / 'maven'}"]
        run_build([maven, "--batch-mode", "--quiet", *home, "compile"], target, {})
        (target / "complete").touch()
    places = (target / "target" / "classes", target / "target" / "dependency" / "*")
    return StockClient((java, "-cp", os.pathsep.join(map(str, places)), "Client"), {})


def _node_folder() -> tuple[str, Path]:
    """Node, and the folder with its packages, stubs and the compiled program."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise MissingToolchain("Node.js is not installed")
    names = ("package.json", "package-lock.json", "tsconfig.json", "client.ts")
    sources = [HERE / "node" / name for name in names]
    target = CACHE / f"api-node-{digest(*sources, *api_protos())}"
    if not (target / "complete").exists():
        _fresh(target, sources)
        run_build([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"], target, {})
        (target / "stubs").mkdir()
        tools = target / "node_modules" / ".bin"
        _generate(
            [f"--ts_proto_out={target / 'stubs'}", f"--ts_proto_opt={_TS_OPTIONS}"],
            plugins={"protoc-gen-ts_proto": tools / "protoc-gen-ts_proto"},
            others=("google/rpc/status.proto", "google/rpc/error_details.proto"),
        )
        run_build([str(tools / "tsc"), "--project", "."], target, {})
        (target / "complete").touch()
    return node, target


def _generate(
    *arguments: list[str], plugins: dict[str, Path], others: tuple[str, ...] = ()
) -> None:
    """Runs stock protoc on the public contracts as they are, without one option for a file."""
    includes = [PROTOS]
    if others:
        well_known = Path(str(resources.files(grpc_tools) / "_proto"))
        includes += [Path(google.rpc.status_pb2.__file__).parents[2], well_known]
    run_build(
        [
            *(sys.executable, "-m", "grpc_tools.protoc"),
            *(f"-I{folder}" for folder in includes),
            *(f"--plugin={name}={path}" for name, path in plugins.items()),
            *(word for group in arguments for word in group),
            *(path.relative_to(PROTOS).as_posix() for path in api_protos()),
            *others,
        ],
        PROTOS,
        {},
    )


def _fresh(target: Path, sources: list[Path]) -> None:
    """An empty folder with copies of `sources`: what a build cut short left is none."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    for source in sources:
        shutil.copy(source, target)


def run_client(client: StockClient, *arguments: str) -> str:
    """What the program prints. Raises AssertionError with its complaints when it fails."""
    done = subprocess.run(
        [*client.command, *arguments],
        env={**os.environ, **client.variables},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, f"{' '.join(arguments)} failed:\n{done.stderr}"
    return done.stdout
