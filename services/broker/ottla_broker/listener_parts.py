"""The servicers of one listener, made of what all listeners of a broker share.

Owns which part gets what, and that callers of a listener are believed to be services only where
that is sure. Where servers listen is `listener_servers`'; who runs and ends it all is `app`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ottla.protocol.ids import NodeId
from ottla_broker.config import BrokerConfig
from ottla_broker.listener_servers import Servicers
from ottla_broker.metadata.client_view import ClientView
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_broker.metadata.controller_link import ControllerLink
from ottla_broker.metadata.dynamic_settings import DynamicSettings
from ottla_broker.metadata.idle_alarms import IdleAlarms
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.watch_hub import WatchHub
from ottla_broker.replica.replica_table import ReplicaTable
from ottla_broker.rpc.admin_forwarder import AdminForwarder
from ottla_broker.rpc.admin_servicer import AdminServicer
from ottla_broker.rpc.broker_calls import BrokerCalls
from ottla_broker.rpc.broker_servicer import BrokerServicer
from ottla_broker.rpc.config_descriptions import ConfigDescriptions
from ottla_broker.rpc.fetch_servicer import FetchServicer
from ottla_broker.rpc.fetch_session import FetchSessions
from ottla_broker.rpc.log_directories import LogDirectories
from ottla_broker.rpc.metadata_servicer import MetadataServicer
from ottla_broker.rpc.partition_router import PartitionRouter
from ottla_broker.rpc.peer_channels import PeerChannels
from ottla_broker.rpc.produce_servicer import ProduceServicer
from ottla_broker.rpc.produce_session import ProduceSessions
from ottla_broker.rpc.reader import ReadWaits
from ottla_broker.rpc.record_deletion import RecordDeletion
from ottla_broker.rpc.records_budget import RecordsBudget
from ottla_broker.rpc.static_configs import static_entries
from ottla_broker.rpc.topic_auto_creation import TopicAutoCreation
from ottla_broker.storage.ports import Offload
from ottla_runtime.broker_configs import AUTO_CREATE_TOPICS
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy
from ottla_runtime.version import server_version


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedParts:
    """What all listeners of a broker share."""

    config: BrokerConfig
    table: ClusterTable
    applied: VersionWaiters
    link: ControllerLink
    settings: DynamicSettings
    replicas: ReplicaTable
    peers: PeerChannels
    alarms: IdleAlarms
    waits: ReadWaits
    records: RecordsBudget
    lease_held: Callable[[], bool]
    offload: Offload
    clock: Clock
    entropy: Entropy

    @property
    def node_id(self) -> NodeId:
        """This broker's."""
        return NodeId(self.config.node_id)


class ListenerParts:
    """What stands on one listener, and its streams, which are drained with the broker."""

    def __init__(self, listener: str, shared: SharedParts) -> None:
        self._listener = listener
        self._shared = shared
        self._view = ClientView(shared.table, listener=listener)
        self.hub = WatchHub(self._view, clock=shared.clock, alarms=shared.alarms)
        self._router = PartitionRouter(
            self._view,
            node_id=shared.node_id,
            find_replica=shared.replicas.get,
            applied=shared.applied,
        )
        brokers = BrokerCalls(shared.table, shared.peers, node_id=shared.node_id)
        self._deletion = RecordDeletion(
            self._router, brokers, clock=shared.clock, entropy=shared.entropy
        )
        self._directories = LogDirectories(
            shared.table, shared.replicas, brokers, node_id=shared.node_id, clock=shared.clock
        )
        admin = self._admin(brokers)
        creation = TopicAutoCreation(
            admin.create_topics, is_enabled=lambda: shared.settings.is_on(AUTO_CREATE_TOPICS)
        )
        produce, fetch = self._produce(creation), self._fetch()
        self.sessions: list[ProduceSessions | FetchSessions] = [produce.sessions, fetch.sessions]
        self.servicers = Servicers(
            produce=produce,
            fetch=fetch,
            metadata=self._metadata(creation),
            admin=admin,
            broker=self._broker(),
        )

    @property
    def _trusts_forwarded(self) -> bool:
        return self._shared.config.is_for_services(self._listener)

    def _admin(self, brokers: BrokerCalls) -> AdminServicer:
        shared = self._shared
        forwarder = AdminForwarder(
            shared.link, applied=shared.applied, clock=shared.clock, entropy=shared.entropy
        )
        configs = ConfigDescriptions(
            shared.table,
            brokers,
            node_id=shared.node_id,
            own_entries=lambda: static_entries(shared.config),
            ask_controller=forwarder.ask,
            clock=shared.clock,
        )
        return AdminServicer(
            forwarder, deletion=self._deletion, directories=self._directories, configs=configs
        )

    def _broker(self) -> BrokerServicer | None:
        """For brokers alone, so on their listener only."""
        config = self._shared.config
        if self._listener != config.broker_listener():
            return None
        return BrokerServicer(
            config,
            deletion=self._deletion,
            directories=self._directories,
            clock=self._shared.clock,
        )

    def _metadata(self, creation: TopicAutoCreation) -> MetadataServicer:
        return MetadataServicer(
            self._view,
            self.hub,
            applied=self._shared.applied,
            auto_creation=creation,
            server_version=server_version(),
            trusts_forwarded=self._trusts_forwarded,
        )

    def _produce(self, creation: TopicAutoCreation) -> ProduceServicer:
        shared = self._shared
        return ProduceServicer(
            self._router,
            shared.peers,
            node_id=shared.node_id,
            auto_creation=creation,
            lease_held=shared.lease_held,
            clock=shared.clock,
            offload=shared.offload,
            idle_ms=shared.config.idle_heartbeat_ms,
            trusts_forwarded=self._trusts_forwarded,
        )

    def _fetch(self) -> FetchServicer:
        shared = self._shared
        return FetchServicer(
            self._router,
            shared.peers,
            node_id=shared.node_id,
            waits=shared.waits,
            records=shared.records,
            offload=shared.offload,
            clock=shared.clock,
            idle_ms=shared.config.idle_heartbeat_ms,
            trusts_forwarded=self._trusts_forwarded,
        )
