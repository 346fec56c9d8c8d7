"""Every RPC of the platform has its permission."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import ottla.api
import ottla.internal
from ottla_runtime.interceptors.permissions import PERMISSIONS


def _modules(package: ModuleType) -> Iterator[ModuleType]:
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if found.name.endswith("_pb2"):
            yield importlib.import_module(found.name)


def _rpcs() -> set[str]:
    return {
        f"/{service.full_name}/{method.name}"
        for package in (ottla.api, ottla.internal)
        for module in _modules(package)
        # Protos of a store we only call are not served by us.
        if "etcd" not in module.__name__
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }


def test_every_rpc_is_in_the_table_and_nothing_else() -> None:
    assert _rpcs() == set(PERMISSIONS)


def test_the_search_for_rpcs_finds_some() -> None:
    assert "/ottla.api.produce.v1.ProduceService/Publish" in _rpcs()
    assert len(_rpcs()) > 20


@pytest.mark.parametrize("rpc", sorted(PERMISSIONS))
def test_internal_rpcs_are_for_services_alone(rpc: str) -> None:
    is_internal = rpc.startswith("/ottla.internal.")
    assert (PERMISSIONS[rpc].operation == "cluster-action") is is_internal
