"""Imports and speaks the generated code on the oldest and the newest runtime it may meet.

Applications choose their protobuf and grpcio; pyproject.toml says the bounds. For each end of them
an environment in .cache/ holds that runtime, every generated module is imported with warnings as
errors, every message goes through bytes and back, and every stub is made.
"""

from __future__ import annotations

from built_artifacts import ROOT, fresh_environment, install_locked, run

EXERCISE = """
import importlib, pkgutil, sys, warnings
warnings.simplefilter("error")
import google.protobuf, grpc
from google.protobuf import symbol_database
messages = stubs = 0
for package in ("ottla.api", "ottla.internal", "ottla.storage"):
    for module in pkgutil.walk_packages(importlib.import_module(package).__path__, package + "."):
        loaded = importlib.import_module(module.name)
        for value in vars(loaded).values():
            if isinstance(value, type) and hasattr(value, "DESCRIPTOR"):
                assert value.FromString(value().SerializeToString()) == value()
                messages += 1
            if isinstance(value, type) and value.__name__.endswith("Stub"):
                with grpc.insecure_channel("127.0.0.1:1") as channel:
                    value(channel)
                stubs += 1
assert messages > 20 and stubs > 3, (messages, stubs)
print(f"protobuf {google.protobuf.__version__}, grpcio {grpc.__version__}:", messages, stubs)
"""


def exercise(lock: str) -> None:
    """Runs the exercise in a cached environment that holds what the lock names."""
    folder = ROOT / ".cache" / f"venv-{lock}"
    text = (ROOT / "requirements" / f"{lock}.lock").read_text(encoding="utf-8")
    copy = folder / "installed.lock"
    if not copy.is_file() or copy.read_text(encoding="utf-8") != text:
        install_locked(fresh_environment(folder), lock)
        copy.write_text(text, encoding="utf-8")
    source = str(ROOT / "clients" / "python")
    program = f"import sys; sys.path.insert(0, {source!r})\n{EXERCISE}"
    print(run(folder / "bin" / "python", "-c", program, cwd=ROOT / ".cache").strip())


def main() -> int:
    for lock in ("oldest", "base"):
        exercise(lock)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
