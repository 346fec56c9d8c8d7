"""Calls passed on to a controller that doesn't answer, or not in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import cast

import grpc
import pytest

from kit.clock import ManualClock, settle
from kit.entropy import SeededEntropy
from ottla.api.admin.v1 import admin_pb2
from ottla.api.cluster.v1 import cluster_pb2
from ottla.protocol.error_details import STATUS_TRAILER, to_status
from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotController,
    OttlaError,
    OutcomeUnknown,
)
from ottla.storage.metadata.v1 import metadata_record_pb2 as records
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion
from ottla_broker.rpc.admin_forwarder import AdminForwarder, answer_within_ms

from .cluster_messages import Change


class ConnectedChannel:
    """A connection that stands."""

    def get_state(self, *, try_to_connect: bool) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.READY


def forwarder() -> AdminForwarder:
    link = ControllerLink(
        [cluster_pb2.Endpoint(host="a", port=1)],
        table=ClusterTable(),
        open_channel=lambda _: cast("grpc.aio.Channel", ConnectedChannel()),
    )
    clock, entropy = ManualClock(), SeededEntropy(7)
    return AdminForwarder(link, applied=VersionWaiters(), clock=clock, entropy=entropy)


@pytest.mark.parametrize(
    ("left_seconds", "within_ms"),
    [(20.0, 19_750), (1.0, 900), (0.005, 5), (0.0, 0), (None, 29_750), (1e9, 599_750)],
)
def test_time_is_left_to_tell_the_caller_why(left_seconds: float | None, within_ms: int) -> None:
    assert answer_within_ms(left_seconds) == within_ms


@pytest.mark.parametrize(
    ("changes", "error"), [(False, MetadataStoreUnavailable), (True, OutcomeUnknown)]
)
async def test_a_stream_whose_answer_is_lost_says_whether_something_may_be_changed(
    changes: bool, error: type[OttlaError]
) -> None:
    lost = grpc.aio.AioRpcError(
        grpc.StatusCode.UNAVAILABLE, grpc.aio.Metadata(), grpc.aio.Metadata()
    )
    with pytest.raises(error):
        async with forwarder().streaming(changes=changes):
            raise lost


class AnsweringChannel(ConnectedChannel):
    """A controller that gives every call the same answer, and counts."""

    def __init__(self, outcome: Exception | admin_pb2.CreateTopicsResponse) -> None:
        self.outcome = outcome
        self.call_count = 0

    def unary_unary(self, *_: object, **__: object) -> Callable[..., Awaitable[object]]:
        async def answer(*_: object, **__: object) -> object:
            self.call_count += 1
            if isinstance(self.outcome, Exception):
                raise self.outcome
            return self.outcome

        return answer

    unary_stream = stream_unary = stream_stream = unary_unary


def not_controller() -> grpc.aio.AioRpcError:
    status = to_status(NotController("another one is active"))
    return grpc.aio.AioRpcError(
        grpc.StatusCode.ABORTED, grpc.aio.Metadata(), grpc.aio.Metadata((STATUS_TRAILER, status))
    )


async def test_a_call_that_waits_for_its_next_try_goes_on_once_the_metadata_shows_who_leads() -> (
    None
):
    standby = AnsweringChannel(not_controller())
    active = AnsweringChannel(admin_pb2.CreateTopicsResponse())
    channels = {"a": standby, "b": active}
    table, clock = ClusterTable(), ManualClock()
    link = ControllerLink(
        [cluster_pb2.Endpoint(host="a", port=1)],
        table=table,
        open_channel=lambda endpoint: cast("grpc.aio.Channel", channels[endpoint.host]),
    )
    forwarder = AdminForwarder(
        link, applied=VersionWaiters(), clock=clock, entropy=SeededEntropy(7)
    )
    request = admin_pb2.CreateTopicsRequest()
    async with asyncio.TaskGroup() as group:
        call = group.create_task(
            forwarder.change(
                admin_pb2.CreateTopicsResponse,
                request,
                principal="User:ada",
                deadline_ms=clock.monotonic_ms() + 20_000,
            )
        )
        await settle()
        assert standby.call_count == 1
        leads = records.ControllerRecord(
            node_id=2, endpoints=[cluster_pb2.Endpoint(host="b", port=1)], controller_epoch=7
        )
        table.apply([Change(controller=leads)])
        table.version = ClusterVersion(1, 1)
        link.turn_to_active()
    assert (call.result(), active.call_count, standby.call_count) == (active.outcome, 1, 1)
