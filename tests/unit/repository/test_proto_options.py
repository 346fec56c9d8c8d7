"""Every contract says where stock generators of other languages put it, all by one rule."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
PROTOS = sorted((ROOT / "proto").rglob("*.proto"))


@pytest.mark.parametrize("proto", PROTOS, ids=lambda path: path.stem)
def test_a_contract_names_its_package_in_every_language(proto: Path) -> None:
    folder = proto.parent.relative_to(ROOT / "proto")
    area, version = folder.parts[-2:]
    camel = "".join(word.capitalize() for word in proto.stem.split("_"))
    options = [
        f'csharp_namespace = "{".".join(part.capitalize() for part in folder.parts)}"',
        f'go_package = "github.com/ottla/ottla/clients/go/{folder.as_posix()};{area}{version}"',
        "java_multiple_files = true",
        f'java_outer_classname = "{camel}Proto"',
        f'java_package = "io.{".".join(folder.parts)}"',
    ]
    lines = proto.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line.startswith("option ")] == [
        f"option {option};" for option in options
    ]
