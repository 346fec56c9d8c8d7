"""The broker's session with the controller: registered, kept alive by heartbeats, begun again.

    RegisterBroker ──► broker epoch ──► Heartbeat every 500 ms ──► fenced or not, may shut down
          ▲                                     │
          └──────────── STALE_BROKER_EPOCH ─────┘

Owns the broker epoch, the lease, and what heartbeats carry. Does not own the metadata
(`cluster_watch`) nor what follows from losing the lease (`append_guard`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import grpc
import structlog

from ottla.api.cluster.v1.cluster_pb2 import Endpoint
from ottla.internal.controller.v1 import controller_pb2, controller_pb2_grpc
from ottla.protocol.errors import (
    ClusterMismatch,
    DuplicateNodeId,
    InvalidRequest,
    OttlaError,
    StaleBrokerEpoch,
    UnsupportedVersion,
)
from ottla.protocol.ids import BrokerEpoch, DirectoryId, NodeId
from ottla_broker.core.cluster_position import ClusterPosition
from ottla_broker.metadata.cluster_follower import ClusterFollower
from ottla_broker.metadata.controller_lease import ControllerLease
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.views import OLDEST_VERSION, ClusterVersion
from ottla_runtime import fields
from ottla_runtime.channels import Backoff
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy
from ottla_runtime.failures import StartError
from ottla_runtime.rpc_errors import error_of
from ottla_runtime.timed_wait import done_by

CALL_TIMEOUT_MS = 1_000
RETRY_MS = 100
"""A heartbeat that failed is sent elsewhere so much later: a new active one begins its count."""
REGISTER_TIMEOUT_MS = 5_000
DUPLICATE_WAIT_MS = 15_000
"""How long a registration waits for the session of this broker's own last life to end."""

_FATAL = (ClusterMismatch, UnsupportedVersion, InvalidRequest)
_logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class BrokerIdentity:
    """What a broker says of itself when it registers; the same for all of a process's life."""

    node_id: NodeId
    incarnation_id: bytes
    endpoints: Sequence[Endpoint]
    rack: str
    server_version: str
    feature_level_max: int
    static_topic_configs: Mapping[str, str]
    """Settings of topics that it was started with, where they differ from the defaults."""


class LogDirectories(Protocol):
    """What a session has to know of the broker's disks."""

    @property
    def cluster_id(self) -> str | None:
        """Cluster the directories belong to; None while they are new."""
        ...

    @property
    def directory_ids(self) -> Sequence[DirectoryId]:
        """Directories online."""
        ...

    @property
    def offline_directory_ids(self) -> Sequence[DirectoryId]:
        """Directories that failed."""
        ...

    @property
    def clean_shutdown_epoch(self) -> int | None:
        """Broker epoch under which they were closed cleanly; None after a crash."""
        ...

    @property
    def position(self) -> ClusterPosition:
        """How far the broker had come, in earlier lives too."""
        ...

    async def adopt_cluster(self, cluster_id: str) -> None:
        """Belong to a cluster from here on. Raises ClusterMismatch for another than before."""
        ...

    async def note_position(self, position: ClusterPosition) -> None:
        """Remember how far the broker has come, beyond this life."""
        ...


class ControllerSession:
    """Registers and heartbeats until cancelled; `run` is its one task."""

    def __init__(
        self,
        identity: BrokerIdentity,
        directories: LogDirectories,
        *,
        link: ControllerLink,
        follower: ClusterFollower,
        lease: ControllerLease,
        applied_version: Callable[[], ClusterVersion],
        on_registered: Callable[[BrokerEpoch], None],
        on_latest_version: Callable[[ClusterVersion], None],
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._identity = identity
        self._directories = directories
        self._link = link
        self._follower = follower
        self._lease = lease
        self._applied_version = applied_version
        self._on_registered = on_registered
        self._on_latest_version = on_latest_version
        self._clock = clock
        self._entropy = entropy
        self._broker_epoch: BrokerEpoch | None = None
        self._interval_ms = 500
        self._ready = False
        self._wants_shutdown = False
        self._urgent = asyncio.Event()
        self.unfenced = asyncio.Event()
        """Set once the controller lets this broker lead; a latch."""
        self.unfenced_at = OLDEST_VERSION
        """The metadata's version at that time."""
        self.may_shut_down = asyncio.Event()
        """Set once a broker that wants to stop has moved its leaders, or lost whom to ask."""

    @property
    def broker_epoch(self) -> BrokerEpoch | None:
        """The epoch of the last registration; None before the first."""
        return self._broker_epoch

    def lease_held(self) -> bool:
        """Whether the session surely lasts."""
        return self._lease.is_held(self._clock.monotonic_ms())

    def set_ready(self) -> None:
        """The logs are recovered and the metadata applied: ask to be let in, at once."""
        self._ready = True
        self._urgent.set()

    def controller_changed(self) -> None:
        """Another controller is active: tell it at once that this broker lives."""
        self._urgent.set()

    def request_shutdown(self) -> None:
        """Ask for the leaders to be moved, at once; `may_shut_down` tells when they are."""
        self._wants_shutdown = True
        self._urgent.set()

    async def run(self) -> None:
        """Register, then heartbeat; register again whenever the controller forgot this broker.

        Raises:
            StartError: the cluster will never take this broker.
        """
        while True:
            await self._register()
            await self._keep_alive()

    async def _register(self) -> None:
        began_ms = self._clock.monotonic_ms()
        failure_count = 0
        while True:
            address = self._link.address
            sent_at_ms = self._clock.monotonic_ms()
            try:
                await self._register_once(sent_at_ms)
                return
            except grpc.RpcError as error:
                failed = error_of(error)
            except OttlaError as error:
                failed = error
            waited_ms = self._clock.monotonic_ms() - began_ms
            is_duplicate = isinstance(failed, DuplicateNodeId) and waited_ms > DUPLICATE_WAIT_MS
            if is_duplicate or isinstance(failed, _FATAL):
                raise StartError(f"the cluster refuses this broker: {failed.message}") from failed
            failure_count += 1
            if failure_count == 1:
                _logger.warning(
                    "broker.registration_failed",
                    **{fields.REASON: failed.reason, fields.ERROR: failed.message},
                )
            self._link.failed(address, failed)
            backoff = Backoff(first_ms=100, longest_ms=1_000)
            wait_ms = backoff.wait_ms(failure_count, self._entropy)
            await self._clock.sleep_until(self._clock.monotonic_ms() + wait_ms)

    async def _register_once(self, sent_at_ms: int) -> None:
        stub = controller_pb2_grpc.ControllerServiceStub(self._link.channel())
        answer = await stub.RegisterBroker(
            self._registration(), timeout=REGISTER_TIMEOUT_MS / 1_000
        )
        version = ClusterVersion.of(answer.metadata_version)
        self._follower.check_answer(version, answer.controller_epoch)
        await self._directories.adopt_cluster(answer.cluster_id)
        await self._directories.note_position(ClusterPosition(answer.broker_epoch, version))
        self._broker_epoch = BrokerEpoch(answer.broker_epoch)
        self._interval_ms = answer.heartbeat_interval_ms or self._interval_ms
        self._lease.began(sent_at_ms=sent_at_ms, timeout_ms=answer.session_timeout_ms)
        self._on_registered(self._broker_epoch)
        _logger.info(
            "broker.registered",
            **{
                fields.CLUSTER_ID: answer.cluster_id,
                fields.BROKER_EPOCH: answer.broker_epoch,
                fields.CONTROLLER_EPOCH: answer.controller_epoch,
            },
        )

    def _registration(self) -> controller_pb2.RegisterBrokerRequest:
        identity = self._identity
        # A process that registers again has its logs in hand: nothing of them was lost.
        clean_epoch = self._broker_epoch or self._directories.clean_shutdown_epoch
        position = self._directories.position
        applied = max(self._applied_version(), ClusterVersion(*position.version))
        return controller_pb2.RegisterBrokerRequest(
            cluster_id=self._directories.cluster_id or "",
            node_id=identity.node_id,
            incarnation_id=identity.incarnation_id,
            endpoints=identity.endpoints,
            rack=identity.rack,
            directory_ids=self._directories.directory_ids,
            clean_shutdown_epoch=clean_epoch,
            server_version=identity.server_version,
            feature_level_max=identity.feature_level_max,
            broker_epoch_seen=max(clean_epoch or 0, position.broker_epoch),
            applied_version=applied.message() if applied > OLDEST_VERSION else None,
            static_topic_configs=identity.static_topic_configs,
        )

    async def _keep_alive(self) -> None:
        """Heartbeat until the controller no longer knows the session."""
        while True:
            address = self._link.address
            wait_ms = self._interval_ms
            try:
                await self._heartbeat()
            except (grpc.RpcError, OttlaError) as error:
                failed = error if isinstance(error, OttlaError) else error_of(error)
                if isinstance(failed, StaleBrokerEpoch):
                    _logger.warning("broker.session_lost", **{fields.ERROR: failed.message})
                    self._lease.ended()
                    return
                self._link.failed(address, failed)
                wait_ms = min(RETRY_MS, self._interval_ms)
                if self._wants_shutdown and not self.lease_held():
                    self.may_shut_down.set()
            await self._until_next(wait_ms)

    async def _heartbeat(self) -> None:
        sent_at_ms = self._clock.monotonic_ms()
        request = controller_pb2.HeartbeatRequest(
            node_id=self._identity.node_id,
            broker_epoch=self._broker_epoch or 0,
            applied_version=self._applied_version().message(),
            ready=self._ready,
            wants_shutdown=self._wants_shutdown,
            offline_directory_ids=self._directories.offline_directory_ids,
        )
        stub = controller_pb2_grpc.ControllerServiceStub(self._link.channel())
        answer = await stub.Heartbeat(request, timeout=CALL_TIMEOUT_MS / 1_000)
        version = ClusterVersion.of(answer.metadata_version)
        self._follower.check_answer(version, answer.controller_epoch)
        self._lease.answered(sent_at_ms=sent_at_ms)
        self._on_latest_version(version)
        if self._ready and not answer.fenced and not self.unfenced.is_set():
            self.unfenced_at = version
            self.unfenced.set()
        if self._wants_shutdown and answer.may_shut_down:
            self.may_shut_down.set()

    async def _until_next(self, wait_ms: int) -> None:
        due_ms = self._clock.monotonic_ms() + wait_ms
        await done_by(self._urgent.wait(), deadline_ms=due_ms, clock=self._clock)
        self._urgent.clear()
