"""Programs that show what those of `clients/` don't, built on their packages and stubs.

The streams of full clients in Go, and protos that Node loads when it starts.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from .languages import GO, NODE, build_variables, built, lock
from .toolchains import HERE, StockClient, digest, run_build


def streams_client() -> StockClient:
    """The Go program of `streams/`.

    Raises:
        MissingToolchain: Go is not installed.
    """
    folder = _folder(built(GO))
    source = HERE / "streams" / "main.go"
    package = f"streams-{digest(source)}"
    program = folder / package / "streams"
    with lock(GO.name):
        if not program.exists():
            program.parent.mkdir(exist_ok=True)
            shutil.copy(source, program.parent)
            command = ["go", "build", "-o", f"{package}/unfinished", f"./{package}"]
            run_build(command, folder, build_variables(GO))
            (program.parent / "unfinished").rename(program)
    return StockClient((str(program),), {})


def loading_client() -> StockClient:
    """The JavaScript program of `loading/`.

    Raises:
        MissingToolchain: Node.js is not installed.
    """
    packages = _folder(built(NODE)) / "node_modules"
    program = HERE / "loading" / "client.js"
    return StockClient(("node", str(program)), {"NODE_PATH": str(packages)})


def _folder(client: StockClient) -> Path:
    assert client.folder is not None
    return client.folder
