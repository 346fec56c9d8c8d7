"""The broker put together: which parts there are, in which order they start and end.

    ports bound ─► logs recovered ─► registered, metadata followed ─► replicas as it says
        ─► serving ─► let in by the controller ─► ready … drain asked ─► leaders moved
        ─► streams ended, servers stopped ─► logs closed with the clean-shutdown mark

Owns the composition root; the only module that knows all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import grpc
import structlog

from ottla.api.cluster.v1.cluster_pb2 import SECURITY_TLS, Endpoint
from ottla.protocol.errors import OttlaError
from ottla.protocol.ids import NodeId
from ottla_broker.config import BrokerConfig
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.log_events import LogEvent
from ottla_broker.listener_parts import ListenerParts, SharedParts
from ottla_broker.listener_servers import ListenerServers
from ottla_broker.metadata.cluster_follower import ClusterFollower
from ottla_broker.metadata.cluster_table import ClusterTable, TableChanges
from ottla_broker.metadata.cluster_watch import ClusterWatch
from ottla_broker.metadata.controller_lease import ControllerLease
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.controller_session import BrokerIdentity, ControllerSession
from ottla_broker.metadata.dynamic_settings import DynamicSettings
from ottla_broker.metadata.idle_alarms import IdleAlarms
from ottla_broker.metadata.readiness import settled
from ottla_broker.metadata.replica_plan import ReplicaPlanner
from ottla_broker.metadata.replica_sync import ReplicaSync
from ottla_broker.metadata.topic_settings import TopicSettings
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.rpc.peer_channels import PeerChannels
from ottla_broker.rpc.reader import ReadWaits
from ottla_broker.rpc.records_budget import RecordsBudget
from ottla_broker.storage.filesystem import OsFilesystem
from ottla_broker.storage.log_directory import DirectorySurroundings, StorageConfig
from ottla_broker.storage.ports import ThreadOffload
from ottla_runtime.broker_configs import (
    ACCESS_LOG,
    EVENT_LOOP_LAG_MAX_MS,
    LOG_LEVEL,
)
from ottla_runtime.channels import open_channel
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy, SystemEntropy
from ottla_runtime.failures import StartError
from ottla_runtime.health import HealthPort
from ottla_runtime.interceptors.access_log import AccessLines
from ottla_runtime.process import ServiceProcess
from ottla_runtime.timed_wait import done_by
from ottla_runtime.version import server_version

FEATURE_LEVEL_MAX = 1
INCARNATION_ID_SIZE = 16
MOVE_LEADERS_MS_MAX = 5_000
STOP_GRACE_SECONDS = 2.0

_logger = structlog.get_logger(__name__)


async def run_broker(process: ServiceProcess, config: BrokerConfig) -> None:
    """Run a broker until it was told to drain and has.

    Raises:
        StartError: it can't start, and why.
    """
    entropy = SystemEntropy()
    offload = ThreadOffload(name="broker", threads_max=config.worker_threads)
    async with AsyncExitStack() as undo:
        undo.callback(offload.close)
        servers = ListenerServers(config, clock=process.clock, entropy=entropy)
        undo.push_async_callback(servers.stop, 0.0)
        servers.bind()
        health = HealthPort()
        undo.push_async_callback(health.stop)
        health_port = await health.start(config.health_host, config.health_port)
        replicas = await _open_replicas(
            config, clock=process.clock, entropy=entropy, offload=offload
        )
        undo.push_async_exit(_Abandoned(replicas))
        await health.set_started()
        await offload.run(server_version)  # looked up on disk once, remembered from then on
        broker = Broker(
            config,
            process=process,
            entropy=entropy,
            servers=servers,
            replicas=replicas,
            offload=offload,
        )
        broker.start_tasks()
        if await broker.become_ready():
            await servers.set_serving()
            await health.set_ready(True)
            process.report_ready(port=servers.port, health_port=health_port)
            await process.drain_requested()
            await health.set_ready(False)
        await broker.drain()


class _Abandoned:
    """Leaves the logs of a broker that could not go on as a crash would; a drain closes them."""

    def __init__(self, replicas: ReplicaTable) -> None:
        self._replicas = replicas

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if kind is not None:
            self._replicas.abandon()


async def _open_replicas(
    config: BrokerConfig, *, clock: Clock, entropy: Entropy, offload: ThreadOffload
) -> ReplicaTable:
    log = LogConfig.from_settings(config.topic_settings())
    # Before the metadata has said what a topic keeps, nothing of it may be removed.
    kept = replace(log, retention_ms=-1, retention_bytes=-1)
    surroundings = DirectorySurroundings(
        filesystem=OsFilesystem(),
        clock=clock,
        offload=offload,
        events=_log_event,
        config=StorageConfig(
            log=kept,
            retention_interval_ms=config.log_retention_check_interval_ms,
            kept_ms=config.unknown_replica_retention_ms,
        ),
    )
    try:
        return await ReplicaTable.open(
            config.log_directories(),
            node_id=config.node_id,
            entropy=entropy,
            surroundings=surroundings,
        )
    except OttlaError as error:
        raise StartError(error.message) from error


def _log_event(event: LogEvent) -> None:
    details = {each.name: getattr(event, each.name) for each in fields(event)}
    getattr(_logger, event.severity)(event.name, **details)


@dataclass(frozen=True, slots=True)
class _Metadata:
    """The parts that know the cluster."""

    table: ClusterTable
    follower: ClusterFollower
    applied: VersionWaiters
    link: ControllerLink
    """To the active controller."""
    watch_link: ControllerLink
    """To the one whose metadata this broker follows."""


class Broker:
    """All parts of a running broker, made from recovered logs and bound ports."""

    def __init__(
        self,
        config: BrokerConfig,
        *,
        process: ServiceProcess,
        entropy: Entropy,
        servers: ListenerServers,
        replicas: ReplicaTable,
        offload: ThreadOffload,
    ) -> None:
        self._config = config
        self._process = process
        self._clock = process.clock
        self._entropy = entropy
        self._servers = servers
        self._replicas = replicas
        self._offload = offload
        self._node_id = NodeId(config.node_id)
        self._open_channel = _channel_opener(config)
        table = ClusterTable()
        self._metadata = _Metadata(
            table,
            ClusterFollower(table),
            VersionWaiters(),
            ControllerLink(config.controllers(), table=table, open_channel=self._open_channel),
            ControllerLink(
                config.controllers(),
                table=table,
                open_channel=self._open_channel,
                first=config.node_id,
            ),
        )
        self._alarms = IdleAlarms(clock=self._clock, idle_ms=config.idle_heartbeat_ms)
        self._waits = ReadWaits(idle_ms=config.idle_heartbeat_ms)
        self._peers = PeerChannels(
            table, listener=config.broker_listener(), open_channel=self._open_channel
        )
        self._settings = _dynamic_settings(table, config, process, servers)
        self._sync = self._make_sync()
        self._watch = self._make_watch()
        self._session = self._make_session()
        self._listeners = list(self._serve(servers))
        self._tasks: list[asyncio.Task[None]] = []

    def _make_sync(self) -> ReplicaSync:
        metadata = self._metadata
        settings = TopicSettings(
            metadata.table, node_id=self._node_id, static=self._config.topic_settings()
        )
        return ReplicaSync(
            self._replicas,
            table=metadata.table,
            planner=ReplicaPlanner(metadata.table, node_id=self._node_id, settings=settings),
            node_id=self._node_id,
            link=metadata.link,
            applied=metadata.applied,
            clock=self._clock,
        )

    def _make_watch(self) -> ClusterWatch:
        metadata = self._metadata
        return ClusterWatch(
            self._node_id,
            table=metadata.table,
            follower=metadata.follower,
            link=metadata.watch_link,
            on_changes=self._changed,
            clock=self._clock,
            entropy=self._entropy,
        )

    def _make_session(self) -> ControllerSession:
        metadata = self._metadata
        identity = BrokerIdentity(
            node_id=self._node_id,
            incarnation_id=self._entropy.token_bytes(INCARNATION_ID_SIZE),
            endpoints=self._servers.advertised(),
            rack=self._config.rack,
            server_version=server_version(),
            feature_level_max=FEATURE_LEVEL_MAX,
            static_topic_configs=self._config.altered_topic_settings(),
        )
        return ControllerSession(
            identity,
            self._replicas,
            link=metadata.link,
            follower=metadata.follower,
            lease=ControllerLease(),
            applied_version=lambda: metadata.applied.version,
            on_registered=self._sync.registered,
            on_latest_version=self._watch.latest_version,
            clock=self._clock,
            entropy=self._entropy,
        )

    def _changed(self, changes: TableChanges) -> None:
        self._settings.changed(changes)
        self._sync.changed(changes)
        if self._metadata.link.turn_to_active():
            self._session.controller_changed()
        for each in self._listeners:
            each.hub.changed(changes)

    def _serve(self, servers: ListenerServers) -> Iterator[ListenerParts]:
        """Put servicers on every listener."""
        metadata = self._metadata
        shared = SharedParts(
            config=self._config,
            table=metadata.table,
            applied=metadata.applied,
            link=metadata.link,
            settings=self._settings,
            replicas=self._replicas,
            peers=self._peers,
            alarms=self._alarms,
            waits=self._waits,
            records=RecordsBudget(),
            lease_held=self._session.lease_held,
            offload=self._offload,
            clock=self._clock,
            entropy=self._entropy,
        )
        for name in servers.names:
            parts = ListenerParts(name, shared)
            servers.add(name, parts.servicers)
            yield parts

    def start_tasks(self) -> None:
        """Start everything that runs beside the servers; a task that dies ends the service."""
        supervisor = self._process.supervisor
        supervisor.start("replica-table", self._replicas.run())
        loops: list[tuple[str, Coroutine[Any, Any, None]]] = [
            ("controller-session", self._session.run()),
            ("metadata-watch", self._watch.run()),
            ("replica-sync", self._sync.run()),
            ("idle-alarms", self._alarms.run()),
            *(("metadata-push", each.hub.run()) for each in self._listeners),
        ]
        self._tasks = [supervisor.start_task(name, loop) for name, loop in loops]

    async def become_ready(self) -> bool:
        """Serve and be let in by the controller; False if told to drain before."""
        return await self._unless_drained(self._enter())

    async def _enter(self) -> None:
        await self._sync.first_applied.wait()
        await self._servers.start()
        self._session.set_ready()
        await self._session.unfenced.wait()
        metadata, version = self._metadata, self._session.unfenced_at
        if not await settled(
            metadata.table, metadata.applied, node_id=self._node_id, version=version
        ):
            _logger.warning("broker.ready_unsettled")

    async def _unless_drained(self, work: Coroutine[Any, Any, None]) -> bool:
        async with asyncio.TaskGroup() as group:
            working = group.create_task(work, name="become-ready")
            draining = group.create_task(self._process.drain_requested(), name="drain-asked")
            working.add_done_callback(lambda _: draining.cancel())
            draining.add_done_callback(lambda _: working.cancel())
        return not working.cancelled()

    async def drain(self) -> None:
        """End in good order: leaders moved, streams told, calls finished, logs closed."""
        await self._servers.drain()
        if self._session.lease_held():
            self._session.request_shutdown()
            deadline_ms = self._clock.monotonic_ms() + MOVE_LEADERS_MS_MAX
            moved = self._session.may_shut_down.wait()
            await done_by(moved, deadline_ms=deadline_ms, clock=self._clock)
        self._waits.drain()
        for each in self._listeners:
            for sessions in each.sessions:
                sessions.drain()
            each.hub.drain()
        await self._servers.stop(STOP_GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._replicas.close(broker_epoch=self._session.broker_epoch)
        await self._peers.close()
        await self._metadata.link.close()
        await self._metadata.watch_link.close()


def _dynamic_settings(
    table: ClusterTable, config: BrokerConfig, process: ServiceProcess, servers: ListenerServers
) -> DynamicSettings:
    return DynamicSettings(
        table,
        node_id=NodeId(config.node_id),
        static=config.dynamic_settings(),
        apply={
            ACCESS_LOG: lambda lines: servers.set_access_log(cast("AccessLines", lines)),
            EVENT_LOOP_LAG_MAX_MS: lambda text: process.set_event_loop_lag_max_ms(int(text)),
            LOG_LEVEL: process.set_log_level,
        },
    )


def _channel_opener(config: BrokerConfig) -> Callable[[Endpoint], grpc.aio.Channel]:
    authorities = None if config.tls_ca_path is None else config.tls_ca_path.read_bytes()

    def opened(endpoint: Endpoint) -> grpc.aio.Channel:
        if endpoint.security != SECURITY_TLS:
            return open_channel(endpoint)
        return open_channel(endpoint, credentials=grpc.ssl_channel_credentials(authorities))

    return opened
