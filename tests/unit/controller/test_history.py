"""Whatever happens to a cluster, in whatever order: what must always hold, holds.

Random inputs drive the core. A controller may die after any transaction of any of them; its
successor has the records alone.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from ottla.storage.metadata.v1.metadata_record_pb2 import TOPIC_STATE_READY, PartitionRecord
from ottla_controller.core import brokers, registration
from ottla_controller.core.partition_change import is_online

from .cluster_context import ClusterContext, contents, directory

NODES = st.integers(1, 4)
NAMES = st.sampled_from(["a", "b", "c"])
CUTS = st.one_of(st.none(), st.integers(0, 2))


class ClusterHistory(RuleBasedStateMachine):
    """Drives one cluster."""

    def __init__(self) -> None:
        super().__init__()
        self.cluster = ClusterContext()
        self.last: dict[tuple[bytes, int], PartitionRecord] = {}
        self.leader_of_epoch: dict[tuple[bytes, int, int], tuple[int, int]] = {}
        self.broker_epochs: dict[int, int] = {}
        self.cut_off = False
        self.cluster.start_brokers(1)

    @rule(node=NODES, clean=st.booleans(), new_disk=st.booleans(), stop_after=CUTS)
    def register(self, node: int, clean: bool, new_disk: bool, stop_after: int | None) -> None:
        before = self.cluster.epoch(node)
        request = self.cluster.registration(
            node,
            clean_epoch=before if clean and before else None,
            directories=[directory(node, 2 if new_disk else 1)],
        )
        result = registration.register(self.cluster.state, request, session_remaining_ms=0)
        self.cluster.write(result, stop_after=stop_after)
        self.cut_off |= stop_after is not None

    @rule(node=NODES)
    def unfence(self, node: int) -> None:
        self.cluster.unfence(node)

    @rule(node=NODES, stop_after=CUTS)
    def fence(self, node: int, stop_after: int | None) -> None:
        result = brokers.fence(
            self.cluster.state, node_id=node, broker_epoch=self.cluster.epoch(node)
        )
        self.cluster.write(result, stop_after=stop_after)
        self.cut_off |= stop_after is not None

    @rule(node=NODES)
    def drain(self, node: int) -> None:
        self.cluster.drain(node)

    @rule(node=NODES)
    def lose_a_disk(self, node: int) -> None:
        self.cluster.write(
            brokers.fail_directories(
                self.cluster.state,
                node_id=node,
                broker_epoch=self.cluster.epoch(node),
                directory_ids=[directory(node)],
            )
        )

    @rule(
        name=NAMES,
        partitions=st.sampled_from([1, 3, 200]),
        replicas=st.integers(0, 3),
        flushed=st.booleans(),
        stop_after=CUTS,
    )
    def create(
        self, name: str, partitions: int, replicas: int, flushed: bool, stop_after: int | None
    ) -> None:
        self.cluster.create(
            name,
            partitions=partitions,
            replicas=replicas,
            configs={"flush.on.ack": str(flushed).lower()},
            stop_after=stop_after,
        )

    @rule(name=NAMES)
    def delete(self, name: str) -> None:
        self.cluster.delete(name)

    @rule()
    def sweep(self) -> None:
        self.cluster.sweep()

    @rule(name=NAMES, members=st.sets(NODES))
    def change_in_sync_set(self, name: str, members: set[int]) -> None:
        topic = self.cluster.state.topic_named(name)
        if topic is None or self.cluster.leader(topic=name) is None:
            return
        partition = self.cluster.partition(topic=name)
        isr = sorted({partition.leader_id, *members})
        result = self.cluster.alter(partition, isr)
        if not result.HasField("error"):
            assert set(self.cluster.partition(topic=name).isr) == set(isr)

    @rule()
    def the_controller_is_replaced(self) -> None:
        self.cluster.write(brokers.reconcile(self.cluster.state))
        self.cut_off = False

    @invariant()
    def records_alone_give_the_same_state(self) -> None:
        restarted, state = self.cluster.restarted(), self.cluster.state
        assert contents(restarted) == contents(state)
        assert restarted.ready_names == state.ready_names
        assert restarted.partition_count == state.partition_count
        assert set(restarted.unready_topic_ids) == set(state.unready_topic_ids)
        for node in range(1, 5):
            assert restarted.leader_count(node) == state.leader_count(node)
            assert restarted.replicas_on(node) == state.replicas_on(node)

    @invariant()
    def epochs_only_grow_and_each_has_one_leader(self) -> None:
        for topic_id, partitions in self.cluster.state.partitions.items():
            for number, record in partitions.items():
                place = (topic_id, number)
                before = self.last.get(place, record)
                assert record.leader_epoch >= before.leader_epoch
                assert record.partition_epoch >= before.partition_epoch
                if record != before:
                    assert record.partition_epoch > before.partition_epoch
                self.last[place] = record
                if record.HasField("leader_id"):
                    leads = (record.leader_id, record.leader_broker_epoch)
                    known = self.leader_of_epoch.setdefault((*place, record.leader_epoch), leads)
                    assert known == leads, "an epoch belongs to one incarnation"
        for node, broker in self.cluster.state.brokers.items():
            assert broker.broker_epoch >= self.broker_epochs.get(node, 0)
            self.broker_epochs[node] = broker.broker_epoch

    @invariant()
    def sets_are_of_replicas_and_the_leader_is_in_sync(self) -> None:
        for partition in self.visible_partitions():
            nodes = {replica.node_id for replica in partition.replicas}
            in_sync, eligible = set(partition.isr), set(partition.eligible_leader_replicas)
            assert in_sync | eligible | set(partition.last_known_leader_replicas) <= nodes
            assert not in_sync & eligible
            assert len(in_sync) == len(partition.isr)
            if partition.HasField("leader_id"):
                assert partition.leader_id in in_sync

    @invariant()
    def who_leads_is_alive_under_its_present_epoch(self) -> None:
        if self.cut_off:
            return  # until the successor has looked
        state = self.cluster.state
        for partition in self.visible_partitions():
            replicas = {replica.node_id: replica for replica in partition.replicas}
            for node in partition.isr:
                assert is_online(state.brokers, replicas[node])
            if partition.HasField("leader_id"):
                broker = state.brokers[partition.leader_id]
                assert broker.broker_epoch == partition.leader_broker_epoch
            else:
                assert not any(not state.brokers[node].draining for node in partition.isr), (
                    "somebody could lead"
                )

    def visible_partitions(self) -> list[PartitionRecord]:
        state = self.cluster.state
        return [
            partition
            for topic in state.topics.values()
            if topic.state == TOPIC_STATE_READY
            for partition in state.partitions_of(topic.topic_id).values()
        ]


TestClusterHistory = ClusterHistory.TestCase
TestClusterHistory.settings = settings(max_examples=40, stateful_step_count=25, deadline=None)
