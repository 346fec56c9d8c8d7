"""Which files the repository's own tests look at: what is written by hand, wherever it stands."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
PRODUCT = ("clients", "services")
EVERYWHERE = (*PRODUCT, "tests", "bench", "demo", "scripts")
GENERATED_MARKS = ("_pb2.py", "_pb2_grpc.py")
GENERATED_PACKAGES = tuple(
    ROOT / "clients" / "python" / "ottla" / name for name in ("api", "internal", "storage")
)
NOT_OURS = {".git", ".venv", ".cache", "node_modules", "__pycache__", "dist", "build"}


def walk(*tops: str) -> Iterator[Path]:
    """Every file below the folders `tops` of the repository that is not a tool's product."""
    for top in tops:
        for path in sorted((ROOT / top).rglob("*")):
            parts = path.relative_to(ROOT).parts
            if path.is_file() and NOT_OURS.isdisjoint(parts):
                yield path


def is_generated(path: Path) -> bool:
    return any(path.is_relative_to(package) for package in GENERATED_PACKAGES)


def python_files(*tops: str) -> list[Path]:
    """The hand-written Python files below `tops`."""
    return [path for path in walk(*tops) if path.suffix == ".py" and not is_generated(path)]


def shown(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()
