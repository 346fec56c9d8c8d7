"""gRPC ignores options that it does not know, so a name with a slip in it would go unnoticed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest

from ottla_controller.store.etcd_member import CHANNEL_OPTIONS as ETCD_OPTIONS
from ottla_runtime.channels import CHANNEL_OPTIONS, KEEPALIVE_INTERVAL_MS
from ottla_runtime.grpc_server import SERVER_OPTIONS

OPTIONS = {*dict(CHANNEL_OPTIONS), *dict(SERVER_OPTIONS), *dict(ETCD_OPTIONS)}


@pytest.fixture(scope="module")
def grpc_core() -> bytes:
    """The library of gRPC, which holds the names of its options."""
    found = find_spec("grpc._cython.cygrpc")
    assert found is not None
    assert found.origin is not None
    return Path(found.origin).read_bytes()


@pytest.mark.parametrize("name", sorted(OPTIONS))
def test_every_option_is_one_that_grpc_knows(name: str, grpc_core: bytes) -> None:
    assert name.encode() + b"\0" in grpc_core


def test_servers_take_pings_as_often_as_clients_send_them() -> None:
    # Else an idle connection ends with too_many_pings after its fourth ping.
    allowed_ms = dict(SERVER_OPTIONS)["grpc.http2.min_ping_interval_without_data_ms"]
    assert allowed_ms < KEEPALIVE_INTERVAL_MS
