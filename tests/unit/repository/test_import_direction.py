"""Imports run one way: a violation planted in a copy of the tree breaks its contract."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from unit.repository.source_tree import PRODUCT, ROOT

BROKER = "services/broker/ottla_broker"
CONTROLLER = "services/controller/ottla_controller"
CONTRACTS = {
    contract["id"]: contract
    for contract in tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"][
        "importlinter"
    ]["contracts"]
}
# contract, the module that is planted (as a file), the import it makes
PLANTED = [
    ("client-layers", "clients/python/ottla/protocol/planted.py", "import ottla_cli"),
    ("client-layers", "clients/python/ottla/client/planted.py", "import ottla.testing"),
    ("client-layers", "clients/cli/ottla_cli/planted.py", "import ottla.testing"),
    ("client-layers", "clients/python/ottla/testing/planted.py", "import ottla_cli"),
    ("service-layers", f"{BROKER}/core/planted.py", "import ottla_controller"),
    ("service-layers", "services/runtime/ottla_runtime/planted.py", "import ottla_broker"),
    ("service-layers", "clients/python/ottla/protocol/planted.py", "import ottla_runtime"),
    ("client-alone", "clients/cli/ottla_cli/planted.py", "import ottla_broker.storage"),
    ("client-alone", "clients/python/ottla/protocol/planted.py", "import ottla.internal.broker"),
    ("client-alone", "clients/python/ottla/client/planted.py", "import ottla_broker"),
    ("client-alone", "clients/python/ottla/client/planted.py", "import ottla_runtime.clock"),
    ("client-alone", "clients/python/ottla/blocking/planted.py", "import ottla_broker"),
    ("client-layers", "clients/python/ottla/client/planted.py", "import ottla.blocking"),
    ("services-without-client", f"{BROKER}/rpc/planted.py", "import ottla_cli"),
    ("services-without-client", f"{CONTROLLER}/rpc/planted.py", "import ottla.testing"),
    ("broker-layers", f"{BROKER}/core/planted.py", "import ottla_broker.storage"),
    ("broker-layers", f"{BROKER}/storage/planted.py", "import ottla_broker.replica"),
    ("broker-layers", f"{BROKER}/replica/planted.py", "import ottla_broker.rpc"),
    ("broker-layers", f"{BROKER}/replica/planted.py", "import ottla_broker.metadata"),
    ("broker-layers", f"{BROKER}/metadata/planted.py", "import ottla_broker.rpc"),
    ("controller-layers", f"{CONTROLLER}/core/planted.py", "import ottla_controller.store"),
    ("controller-layers", f"{CONTROLLER}/store/planted.py", "import ottla_controller.control"),
    ("controller-layers", f"{CONTROLLER}/control/planted.py", "import ottla_controller.rpc"),
    ("transport-alone", f"{BROKER}/transport/planted.py", "import ottla_broker.core"),
    ("transport-alone", f"{BROKER}/transport/planted.py", "import ottla_broker.rpc"),
    ("transport-unknown", f"{BROKER}/storage/planted.py", "import ottla_broker.transport"),
    ("pure", f"{BROKER}/core/planted.py", "import asyncio"),
    ("pure", f"{BROKER}/core/planted.py", "def late():\n    import time"),
    ("pure", f"{CONTROLLER}/core/planted.py", "import sqlite3"),
    ("pure", "clients/python/ottla/protocol/planted.py", "from os import fsync"),
    ("pure", "clients/python/ottla/client/core/planted.py", "import random"),
]


@pytest.fixture(scope="module")
def copy_of_the_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    copy = tmp_path_factory.mktemp("tree")
    for top in PRODUCT:
        shutil.copytree(
            ROOT / top,
            copy / top,
            ignore=shutil.ignore_patterns("__pycache__", "node_modules", "*.pyi"),
        )
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def lint_imports(tree: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Runs import-linter on `tree`, which hides the installed packages of the same names."""
    roots = [path.parent.parent for top in PRODUCT for path in tree.glob(f"{top}/*/*/__init__.py")]
    command = [
        sys.executable,
        "-c",
        "from importlinter.cli import lint_imports_command as run; run()",
    ]
    for contract in contracts:
        command += ["--contract", contract]
    return subprocess.run(
        command,
        cwd=tree,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, roots))},
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


@pytest.mark.slow
def test_the_tree_keeps_every_contract(copy_of_the_tree: Path) -> None:
    ran = lint_imports(copy_of_the_tree)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert f"Contracts: {len(CONTRACTS)} kept, 0 broken." in ran.stdout


@pytest.mark.slow
@pytest.mark.parametrize(("contract", "module", "statement"), PLANTED)
def test_planted_import_breaks_its_contract(
    copy_of_the_tree: Path, contract: str, module: str, statement: str
) -> None:
    planted = copy_of_the_tree / module
    planted.write_text(f'"""Planted."""\n{statement}\n', encoding="utf-8")
    try:
        ran = lint_imports(copy_of_the_tree, contract)
    finally:
        planted.unlink()
    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "Contracts: 0 kept, 1 broken." in ran.stdout
    assert f"{CONTRACTS[contract]['name'].split(':')[0]}"[:40] in ran.stdout


def test_every_contract_has_a_planted_violation() -> None:
    assert {contract for contract, _, _ in PLANTED} == set(CONTRACTS)


def named_packages() -> set[str]:
    """Every package that some contract names, layers inside a container spelled out."""
    named = set()
    for contract in CONTRACTS.values():
        named |= {*contract.get("source_modules", ()), *contract.get("forbidden_modules", ())}
        layers = [
            part.strip(" ()") for layer in contract.get("layers", ()) for part in layer.split("|")
        ]
        containers = contract.get("containers", [""])
        named |= {
            f"{container}.{layer}".lstrip(".") for container in containers for layer in layers
        }
    return named


def test_every_package_stands_under_a_contract() -> None:
    packages = {
        ".".join(path.parent.relative_to(path.parents[2]).parts)
        for top in PRODUCT
        for path in (ROOT / top).glob("*/ottla*/*/__init__.py")
    }
    flat = ("ottla_runtime.", "ottla_cli.")  # held as a whole
    layered = {name for name in packages if not name.startswith(flat)}
    assert layered - named_packages() == set()


def test_every_core_is_held_pure() -> None:
    cores = {f"{path.parents[1].name}.core" for path in ROOT.glob("services/*/*/core/__init__.py")}
    assert cores <= set(CONTRACTS["pure"]["source_modules"])
