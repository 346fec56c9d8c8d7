"""The stream of metadata from a controller, kept open across failures.

Owns: opening WatchClusterMetadata, resuming where the last stream ended, with another controller if
there is one, backoff, giving up a stream that is silent or falls behind what the active controller
has. What messages mean is `cluster_follower`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import grpc
import structlog

from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc
from ottla.protocol.errors import MetadataStoreUnavailable, OttlaError
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.cluster_follower import ClusterFollower
from ottla_broker.metadata.cluster_table import ClusterTable, TableChanges
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.views import ClusterVersion
from ottla_runtime import fields
from ottla_runtime.channels import Backoff
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy
from ottla_runtime.rpc_errors import error_of

SILENCE_MS_MAX = 45_000
BEHIND_MS_MAX = 1_000
LOOK_INTERVAL_MS = 500

_logger = structlog.get_logger(__name__)


class ClusterWatch:
    """Follows the cluster's metadata until cancelled; `run` is its one task."""

    def __init__(
        self,
        node_id: NodeId,
        *,
        table: ClusterTable,
        follower: ClusterFollower,
        link: ControllerLink,
        on_changes: Callable[[TableChanges], None],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._node_id = node_id
        self._table = table
        self._follower = follower
        self._link = link
        self._on_changes = on_changes
        self._clock = clock
        self._entropy = entropy
        self._heard_at_ms = 0
        self._heard_count = 0
        self._behind_since_ms: int | None = None
        self._latest = table.version

    def latest_version(self, version: ClusterVersion) -> None:
        """The controller said which version it has; being behind it for long ends the stream."""
        self._latest = max(self._latest, version)
        if self._table.version >= self._latest:
            self._behind_since_ms = None
        elif self._behind_since_ms is None:
            self._behind_since_ms = self._clock.monotonic_ms()

    async def run(self) -> None:
        """Follow for ever, one stream after the other."""
        failure_count = 0
        while True:
            address = self._link.address
            self._heard_count = 0
            failed = await self._one_stream()
            # A stream that brought something was good: its end begins the backoff anew.
            failure_count = 1 if self._heard_count else failure_count + 1
            if failed is None:
                failed = MetadataStoreUnavailable("the controller says nothing, or nothing new")
            elif failure_count == 1:
                _logger.warning(
                    "metadata.watch_broken",
                    **{fields.REASON: failed.reason, fields.ERROR: failed.message},
                )
            self._link.failed(address, failed)
            wait_ms = Backoff(first_ms=50, longest_ms=2_000).wait_ms(failure_count, self._entropy)
            await self._clock.sleep_until(self._clock.monotonic_ms() + wait_ms)

    async def _one_stream(self) -> OttlaError | None:
        """Follow one stream to its end; returns what it failed of, None if it was given up."""
        self._heard_at_ms = self._clock.monotonic_ms()
        self._behind_since_ms = None
        self._follower.stream_began()
        async with asyncio.TaskGroup() as group:
            reading = group.create_task(self._read_until_failed(), name="metadata-stream")
            watching = group.create_task(self._give_up(reading), name="metadata-watchdog")
            reading.add_done_callback(lambda _: watching.cancel())
        return None if reading.cancelled() else reading.result()

    async def _read_until_failed(self) -> OttlaError | None:
        # The failure is returned: a group with a task that raises while the group is cancelled
        # tells of the failure alone, and the watch would go on for ever.
        try:
            await self._read()
        except grpc.RpcError as error:
            return error_of(error)
        except OttlaError as error:
            return error
        return None

    async def _read(self) -> None:
        request = controller_pb2.WatchClusterMetadataRequest(node_id=self._node_id)
        after = self._follower.resume_after
        if after is not None:
            request.from_version.CopyFrom(after.message())
        stub = controller_pb2_grpc.ControllerServiceStub(self._link.channel())
        call = stub.WatchClusterMetadata(request)
        try:
            async for message in call:
                self._heard_at_ms = self._clock.monotonic_ms()
                self._heard_count += 1
                before = self._table.version
                changes = self._follower.receive(message)
                if changes or self._table.version != before:
                    self.latest_version(self._table.version)
                    self._on_changes(changes)
        finally:
            call.cancel()

    async def _give_up(self, reading: asyncio.Task[OttlaError | None]) -> None:
        """Cancel a stream that says nothing, or lags behind what the controller has."""
        while True:
            now_ms = self._clock.monotonic_ms()
            since_ms = self._behind_since_ms
            is_behind = since_ms is not None and now_ms - since_ms > BEHIND_MS_MAX
            if is_behind or now_ms - self._heard_at_ms > SILENCE_MS_MAX:
                _logger.warning("metadata.watch_abandoned", behind=is_behind)
                reading.cancel()
                return
            await self._clock.sleep_until(now_ms + LOOK_INTERVAL_MS)
