"""A cluster in memory: the pure core with records that are written the moment they are decided.

What the write queue does in a service, without a store: every transaction of a result is replayed
as one revision, and what watchers would have been told is kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import TypeVar

from ottla.api.admin.v1.admin_pb2 import CreateTopicResult, NewTopic, TopicRef
from ottla.api.cluster.v1.cluster_pb2 import Endpoint, MetadataVersion
from ottla.internal.controller.v1.controller_pb2 import (
    AlterPartitionsRequest,
    AssignDirectoriesRequest,
    HeartbeatRequest,
    IsrMember,
    MetadataChange,
    PartitionChange,
    PartitionChangeResult,
    RegisterBrokerRequest,
)
from ottla.storage.metadata.v1.metadata_record_pb2 import (
    BrokerRecord,
    ClusterRecord,
    PartitionRecord,
    TopicRecord,
)
from ottla_controller.core import brokers, registration
from ottla_controller.core.directories import assign_directories
from ottla_controller.core.isr_changes import alter_partitions
from ottla_controller.core.publication import replay_and_publish
from ottla_controller.core.record_keys import Record, key_of, parse_record
from ottla_controller.core.result import Put, Result, transactions
from ottla_controller.core.sessions import SessionTable
from ottla_controller.core.state import ClusterState
from ottla_controller.core.topic_creation import Creation, CreationRules, create_topics
from ottla_controller.core.topic_deletion import delete_topics, sweep
from ottla_controller.core.topic_drafts import TopicDraft

Response = TypeVar("Response")
RULES = CreationRules(
    partition_count=1, replication_factor=0, cluster_partitions_max=100_000, replicas_max=1_000
)
CLUSTER_ID = "a-cluster"


def directory(node_id: int, number: int = 1) -> bytes:
    """Id of a broker's log directory."""
    return b"dir-%03d-%08d" % (number, node_id)


def incarnation(number: int) -> bytes:
    """Id of a broker's process."""
    return b"incarnation%05d" % number


class ClusterContext:
    """A cluster's state and its history."""

    def __init__(self) -> None:
        self.state = ClusterState()
        self.store: dict[bytes, bytes] = {}
        self.published: list[MetadataChange] = []
        self.transaction_count = 0
        self.sessions = SessionTable(session_timeout_ms=2_000)
        self._topics_made = 0
        self._incarnations = 0
        cluster = ClusterRecord(
            cluster_id=CLUSTER_ID, format_version=1, feature_level=1, generation=1
        )
        self.write(Result(None, ((Put(cluster),),)))

    def write(self, result: Result[Response], *, stop_after: int | None = None) -> Response:
        """Writes a result, or only its first transactions, as if the controller had died then."""
        for changes in islice(transactions(result.steps), stop_after):
            self.transaction_count += 1
            replayed: list[tuple[bytes, Record | None]] = []
            for change in changes:
                if isinstance(change, Put):
                    value = change.record.SerializeToString(deterministic=True)
                    self.store[change.key] = value
                    replayed.append((change.key, parse_record(change.key, value)))
                else:
                    self.store.pop(change.key, None)
                    replayed.append((change.key, None))
            revision = self.state.revision + 1
            self.published += replay_and_publish(self.state, revision, replayed)
        return result.response

    def restarted(self) -> ClusterState:
        """The state that a new controller reads from the store."""
        state = ClusterState()
        records = [(key, parse_record(key, value)) for key, value in sorted(self.store.items())]
        state.replay(self.state.revision, records)
        return state

    def registration(
        self,
        node_id: int,
        *,
        process: int | None = None,
        rack: str = "",
        directories: Sequence[bytes] | None = None,
        clean_epoch: int | None = None,
        cluster_id: str = "",
        static: Mapping[str, str] | None = None,
    ) -> RegisterBrokerRequest:
        """What a broker's process says when it begins; a new process unless one is given."""
        if process is None:
            self._incarnations += 1
            process = self._incarnations
        return RegisterBrokerRequest(
            cluster_id=cluster_id,
            node_id=node_id,
            incarnation_id=incarnation(process),
            endpoints=[Endpoint(listener="public", host=f"broker-{node_id}", port=9092)],
            rack=rack,
            directory_ids=[directory(node_id)] if directories is None else directories,
            clean_shutdown_epoch=clean_epoch,
            server_version="0.1.0",
            feature_level_max=1,
            static_topic_configs=static,
        )

    def register(
        self, node_id: int, *, session_remaining_ms: int = 0, rack: str = "",
        clean_epoch: int | None = None, directories: Sequence[bytes] | None = None,
        static: Mapping[str, str] | None = None,
    ) -> int:  # fmt: skip
        """Registers a new process of a broker; its epoch."""
        request = self.registration(
            node_id,
            rack=rack,
            clean_epoch=clean_epoch,
            directories=directories,
            static=static,
        )
        result = registration.register(
            self.state, request, session_remaining_ms=session_remaining_ms
        )
        return self.write(result)

    def unfence(self, node_id: int) -> bool:
        return self.write(
            brokers.unfence(self.state, node_id=node_id, broker_epoch=self.epoch(node_id))
        )

    def fence(self, node_id: int) -> bool:
        return self.write(
            brokers.fence(self.state, node_id=node_id, broker_epoch=self.epoch(node_id))
        )

    def drain(self, node_id: int) -> bool:
        return self.write(
            brokers.drain(self.state, node_id=node_id, broker_epoch=self.epoch(node_id))
        )

    def start_brokers(self, *node_ids: int, rack_of: Mapping[int, str] | None = None) -> None:
        """Registers brokers and lets them in."""
        for node_id in node_ids:
            self.register(node_id, rack=(rack_of or {}).get(node_id, ""))
            assert self.unfence(node_id)

    def heartbeat(self, node_id: int, **fields: object) -> HeartbeatRequest:
        """A heartbeat of a broker that has applied everything."""
        return HeartbeatRequest(
            node_id=node_id,
            broker_epoch=self.epoch(node_id),
            applied_version=MetadataVersion(generation=1, revision=self.state.revision),
            **fields,  # type: ignore[arg-type]  # checked by protobuf
        )

    def create(
        self,
        name: str = "flights",
        *,
        partitions: int = 0,
        replicas: int = 0,
        assignments: Sequence[Sequence[int]] = (),
        configs: Mapping[str, str] | None = None,
        validate_only: bool = False,
        stop_after: int | None = None,
        rules: CreationRules = RULES,
    ) -> CreateTopicResult:
        """Asks for one topic."""
        topic = NewTopic(
            name=name, partition_count=partitions, replication_factor=replicas, configs=configs
        )
        for nodes in assignments:
            topic.assignments.add(node_ids=nodes)
        result = create_topics(
            self.state, [self.creation(topic)], rules=rules, validate_only=validate_only
        )
        return self.write(result, stop_after=stop_after)[0]

    def creation(self, topic: NewTopic) -> Creation:
        """A request's item with the next id and seed."""
        self._topics_made += 1
        return Creation(
            draft=TopicDraft.of(topic),
            topic_id=b"topic-%010d" % self._topics_made,
            seed=self._topics_made,
        )

    def delete(self, name: str) -> bool:
        """Deletes a topic by name; whether it was there."""
        result = delete_topics(self.state, [TopicRef(name=name)], validate_only=False)
        return not self.write(result)[0].HasField("error")

    def sweep(self) -> int:
        """Removes one portion of what is left over."""
        return self.write(sweep(self.state))

    def alter(
        self,
        partition: PartitionRecord,
        isr: Sequence[int],
        *,
        leader: int | None = None,
        leader_epoch: int | None = None,
        partition_epoch: int | None = None,
        epochs: Mapping[int, int] | None = None,
    ) -> PartitionChangeResult:
        """The leader asks for another in-sync set; everything as the leader should know it."""
        node_id = partition.leader_id if leader is None else leader
        members = [
            IsrMember(node_id=node, broker_epoch=(epochs or {}).get(node, self.epoch(node)))
            for node in isr
        ]
        change = PartitionChange(
            topic_id=partition.topic_id,
            partition=partition.partition,
            leader_epoch=partition.leader_epoch if leader_epoch is None else leader_epoch,
            partition_epoch=(
                partition.partition_epoch if partition_epoch is None else partition_epoch
            ),
            isr=members,
        )
        request = AlterPartitionsRequest(
            node_id=node_id, broker_epoch=self.epoch(node_id), changes=[change]
        )
        return self.write(alter_partitions(self.state, request))[0]

    def assign(self, node_id: int, directories: Mapping[int, bytes]) -> None:
        """A broker says in which directories its replicas of the usual topic are."""
        request = AssignDirectoriesRequest(node_id=node_id, broker_epoch=self.epoch(node_id))
        for number, directory_id in directories.items():
            request.assignments.add(
                topic_id=self.topic().topic_id, partition=number, directory_id=directory_id
            )
        self.write(assign_directories(self.state, request))

    def assign_all(self) -> None:
        """Every broker says that its replicas of the usual topic are in its first directory."""
        for node_id, broker in sorted(self.state.brokers.items()):
            held = [
                number
                for number, partition in self.state.partitions_of(self.topic().topic_id).items()
                if node_id in {replica.node_id for replica in partition.replicas}
            ]
            self.assign(node_id, dict.fromkeys(held, broker.directories[0].directory_id))

    def epoch(self, node_id: int) -> int:
        broker = self.state.brokers.get(node_id)
        return broker.broker_epoch if broker else 0

    def broker(self, node_id: int) -> BrokerRecord:
        return self.state.brokers[node_id]

    def topic(self, name: str = "flights") -> TopicRecord:
        topic = self.state.topic_named(name)
        assert topic is not None
        return topic

    def partition(self, number: int = 0, *, topic: str = "flights") -> PartitionRecord:
        record = self.state.partition(self.topic(topic).topic_id, number)
        assert record is not None
        return record

    def leader(self, number: int = 0, *, topic: str = "flights") -> int | None:
        record = self.partition(number, topic=topic)
        return record.leader_id if record.HasField("leader_id") else None


def contents(state: ClusterState) -> dict[bytes, Record]:
    """Every record of a state by its key."""
    return {key_of(record): record for record in state.records()}
