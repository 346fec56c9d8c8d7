"""Calls passed on to a controller that doesn't answer, or not in time."""

from __future__ import annotations

from typing import cast

import grpc
import pytest

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from ottla.api.cluster.v1 import cluster_pb2
from ottla.protocol.errors import MetadataStoreUnavailable, OttlaError, OutcomeUnknown
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.rpc.admin_forwarder import AdminForwarder, answer_within_ms


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
