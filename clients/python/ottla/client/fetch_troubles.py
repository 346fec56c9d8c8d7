"""What keeps a consumer from its partitions, told through `logging` once per change.

    broker   ─ fails twice in a row ─► "can't be fetched from" ─ is heard ─► "answers again"
    partition ─ no leader for 2 s ───► "has no leader" ──────── subscribed ► "has a leader again"
    partition ─ is one too many ─────► "waits for others", the first of all of them

Owns what was told already. A consumer goes on trying for as long as it lives, whatever happens, so
this is all its user ever hears of it.
"""

from __future__ import annotations

import logging
from typing import Final

from ottla.client.clock import Clock
from ottla.client.core.addresses import Address
from ottla.client.core.positions import TopicPartition
from ottla.protocol.errors import OttlaError

_log = logging.getLogger(__name__)

FAILURES_TOLD: Final = 2
"""A broker that stops in good order, or a connection that breaks, is back with the next session."""
LEADERLESS_MS_MAX: Final = 2_000
"""Elections, and what a client hears of them, are quicker than that."""


class FetchTroubles:
    """Of one consumer, told by its tasks."""

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._failure_counts: dict[int, int] = {}
        self._leaderless_since: dict[TopicPartition, int] = {}
        self._told: set[TopicPartition] = set()
        self._has_told_throttled = False

    def session_broke(self, node_id: int, address: Address, error: OttlaError) -> None:
        """A session ended, or could not be had."""
        count = self._failure_counts[node_id] = self._failure_counts.get(node_id, 0) + 1
        if count == FAILURES_TOLD:
            _log.warning(
                "broker %d at %s can't be fetched from, trying on: %s",
                node_id,
                address,
                error.message,
            )

    def heard(self, node_id: int) -> None:
        """Something came from the broker; called for every message."""
        if node_id in self._failure_counts and self._failure_counts.pop(node_id) >= FAILURES_TOLD:
            _log.warning("broker %d answers again", node_id)

    def no_leader(self, place: TopicPartition) -> None:
        """A look at the partition found no leader, or none whose address is known."""
        now_ms = self._clock.monotonic_ms()
        since_ms = self._leaderless_since.setdefault(place, now_ms)
        if now_ms - since_ms >= LEADERLESS_MS_MAX and place not in self._told:
            self._told.add(place)
            _log.warning("%s-%d has no leader to fetch from, trying on", *place)

    def leader_found(self, place: TopicPartition) -> None:
        """The partition has a leader whose address is known."""
        if self._leaderless_since.pop(place, None) is not None and place in self._told:
            self._told.discard(place)
            _log.warning("%s-%d has a leader again", *place)

    def throttled(self, place: TopicPartition, error: OttlaError) -> None:
        """A broker takes no more: the partition stays unread until others are read no more."""
        if not self._has_told_throttled:
            self._has_told_throttled = True
            _log.warning(
                "%s-%d, and perhaps others, waits until fewer partitions are read from its broker: "
                "%s",
                *place,
                error.message,
            )

    def forget(self, place: TopicPartition) -> None:
        """The partition isn't read any more."""
        self._leaderless_since.pop(place, None)
        self._told.discard(place)
