"""Where the replicas of new partitions go: round robin over racks and over brokers within a rack.

Owns the plan alone. It is drawn from a seed, so the same input gives the same plan; the seed moves
the first broker, or every small topic would begin on the same one.

With racks a {1, 2}, b {3, 4}, c {5} the ring is 1 3 5 2 4: partition p is led by the broker p
places on, its followers come next on the ring, brokers of racks that have no replica first. Each
time round, followers are taken one place further on, so that brokers share partitions evenly.

A topic that grows goes on where it is thin: the next partition is led by the broker that leads
fewest of the topic so far, in the order of the ring.
"""

from __future__ import annotations

import hashlib
import heapq
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest


@dataclass(frozen=True, slots=True)
class Candidate:
    """A broker that can hold replicas."""

    node_id: int
    rack: str
    active: bool
    """May lead; others only follow, and only where active ones don't suffice."""


def place(
    candidates: Sequence[Candidate],
    *,
    partition_count: int,
    replication_factor: int,
    seed: int,
) -> list[list[int]]:
    """Node ids for each partition, the preferred leader first.

    There must be at least one active candidate and `replication_factor` candidates.
    """
    ring = _Ring(candidates, replication_factor=replication_factor, seed=seed)
    start = _drawn(seed, "start") % len(ring.leaders)
    turns = (divmod(start + partition, len(ring.leaders)) for partition in range(partition_count))
    return [ring.plan(place_on_ring, turn) for turn, place_on_ring in turns]


def place_more(
    candidates: Sequence[Candidate],
    *,
    preferred_leaders: Sequence[int],
    partition_count: int,
    replication_factor: int,
    seed: int,
) -> list[list[int]]:
    """Node ids for each further partition of a topic, the preferred leader first.

    `preferred_leaders` are those of the partitions it has; the rest is as for `place`.
    """
    ring = _Ring(candidates, replication_factor=replication_factor, seed=seed)
    led = Counter(preferred_leaders)
    thinnest = [(led[broker.node_id], place) for place, broker in enumerate(ring.leaders)]
    heapq.heapify(thinnest)
    plans = []
    for _ in range(partition_count):
        count, place_on_ring = thinnest[0]
        heapq.heapreplace(thinnest, (count + 1, place_on_ring))
        plans.append(ring.plan(place_on_ring, count))
    return plans


class _Ring:
    """The brokers that can lead, in the order in which they take turns, and the others."""

    def __init__(
        self, candidates: Sequence[Candidate], *, replication_factor: int, seed: int
    ) -> None:
        self.leaders = _ring([each for each in candidates if each.active], seed)
        self._spares = _ring([each for each in candidates if not each.active], seed)
        self._replication_factor = replication_factor
        assert self.leaders, "somebody can lead"
        assert 1 <= replication_factor <= len(candidates)

    def plan(self, place_on_ring: int, turn: int) -> list[int]:
        """Node ids of a partition led from a place on the ring, for the n-th time."""
        behind = self.leaders[place_on_ring + 1 :] + self.leaders[:place_on_ring]
        shift = turn % len(behind) if behind else 0
        followers = [*behind[shift:], *behind[:shift]]
        leader = self.leaders[place_on_ring]
        return _spread(leader, followers, self._spares, self._replication_factor)


def _ring(brokers: Sequence[Candidate], seed: int) -> list[Candidate]:
    """The brokers with neighbours in other racks, as far as racks are even."""
    racks: dict[str, list[Candidate]] = {}
    for broker in sorted(brokers, key=lambda each: _drawn(seed, f"broker {each.node_id}")):
        racks.setdefault(broker.rack, []).append(broker)
    rows = [racks[rack] for rack in sorted(racks, key=lambda rack: _drawn(seed, f"rack {rack}"))]
    return [broker for column in zip_longest(*rows) for broker in column if broker is not None]


def _drawn(seed: int, subject: str) -> int:
    """A number that follows from the seed alone, and is another one for each subject."""
    digest = hashlib.blake2b(subject.encode(), key=seed.to_bytes(8), digest_size=8).digest()
    return int.from_bytes(digest)


def _spread(
    leader: Candidate,
    followers: Sequence[Candidate],
    spares: Sequence[Candidate],
    replication_factor: int,
) -> list[int]:
    """The leader and the first followers, such that each rack gets one before any gets a second."""
    rack_counts: dict[str, int] = {leader.rack: 1}
    chosen = [leader.node_id]
    left = list(followers)
    spare = list(spares)
    while len(chosen) < replication_factor:
        pool = left or spare
        best = min(pool, key=lambda each: rack_counts.get(each.rack, 0))
        pool.remove(best)
        rack_counts[best.rack] = rack_counts.get(best.rack, 0) + 1
        chosen.append(best.node_id)
    return chosen
