"""Placement spreads replicas over brokers and racks, and follows from its seed."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from ottla_controller.core.placement import Candidate, place

SEEDS = st.integers(0, 2**64 - 1)


@st.composite
def candidates(draw: st.DrawFn) -> list[Candidate]:
    nodes = draw(st.lists(st.integers(1, 500), min_size=1, max_size=12, unique=True))
    first, *others = [
        Candidate(node, draw(st.sampled_from(["", "a", "b", "c"])), draw(st.booleans()))
        for node in nodes
    ]
    return [Candidate(first.node_id, first.rack, active=True), *others]


@given(candidates(), st.integers(1, 40), st.data(), SEEDS)
def test_replicas_are_different_brokers_and_leaders_are_active(
    brokers: list[Candidate], partition_count: int, data: st.DataObject, seed: int
) -> None:
    factor = data.draw(st.integers(1, len(brokers)))
    plans = place(brokers, partition_count=partition_count, replication_factor=factor, seed=seed)
    by_node = {broker.node_id: broker for broker in brokers}
    active = {broker.node_id for broker in brokers if broker.active}
    assert len(plans) == partition_count
    for nodes in plans:
        assert len(set(nodes)) == len(nodes) == factor
        assert by_node[nodes[0]].active
        assert len(active & set(nodes)) == min(factor, len(active)), "spares come last"


@given(candidates(), st.integers(1, 40), SEEDS)
def test_leaders_are_as_even_as_can_be(
    brokers: list[Candidate], partition_count: int, seed: int
) -> None:
    plans = place(brokers, partition_count=partition_count, replication_factor=1, seed=seed)
    counts = Counter({broker.node_id: 0 for broker in brokers if broker.active})
    counts.update(nodes[0] for nodes in plans)
    assert max(counts.values()) - min(counts.values()) <= 1


@given(st.integers(1, 5), st.integers(1, 3), SEEDS)
def test_every_rack_gets_a_replica_before_any_gets_two(
    rack_size: int, factor: int, seed: int
) -> None:
    brokers = [
        Candidate(rack * 100 + number, f"rack-{rack}", active=True)
        for rack in range(3)
        for number in range(rack_size)
    ]
    plans = place(brokers, partition_count=30, replication_factor=factor, seed=seed)
    for nodes in plans:
        assert len({node // 100 for node in nodes}) == factor


@given(candidates(), SEEDS)
def test_the_same_seed_gives_the_same_plan_in_whatever_order_brokers_come(
    brokers: list[Candidate], seed: int
) -> None:
    plan = place(brokers, partition_count=7, replication_factor=1, seed=seed)
    assert plan == place(brokers[::-1], partition_count=7, replication_factor=1, seed=seed)


def test_followers_are_shared_by_all_brokers() -> None:
    brokers = [Candidate(node, "", active=True) for node in range(1, 6)]
    plans = place(brokers, partition_count=100, replication_factor=3, seed=1)
    counts = Counter(node for nodes in plans for node in nodes)
    assert set(counts.values()) == {60}
    pairs = Counter((nodes[0], nodes[1]) for nodes in plans)
    assert len(pairs) == 20, "a leader's first follower is not always the same"


def test_small_topics_begin_on_different_brokers() -> None:
    brokers = [Candidate(node, "", active=True) for node in range(1, 4)]
    leaders = Counter(
        place(brokers, partition_count=1, replication_factor=1, seed=seed)[0][0]
        for seed in range(300)
    )
    assert set(leaders) == {1, 2, 3}
    assert min(leaders.values()) > 60
