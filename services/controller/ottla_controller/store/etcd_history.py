"""Which etcd cluster answers, and how far its history has come: what tells a restored one.

Owns what this process has seen of both. A linearizable answer shows every revision and every term
of the cluster that was seen before it was asked for; one that shows less, or comes from another
cluster, means that a backup was restored. From then on nothing is believed until the caller says
so, because what stands on the lost revisions would be served or written as if they were there.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla.internal.etcd.v1.etcd_pb2 import ResponseHeader
from ottla_controller.store.interface import StoreRestoredError


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the history had come at some moment."""

    term: int
    revision: int
    history_number: int


class StoreHistory:
    """What the answers have told; used by everything of one store."""

    def __init__(self) -> None:
        self._cluster_id = 0
        self._term = 0
        self._revision = 0
        self._restored = ""
        self._number = 0

    @property
    def store_id(self) -> str:
        """The cluster's id in hexadecimal; empty before the first answer."""
        return f"{self._cluster_id:016x}" if self._cluster_id else ""

    def mark(self) -> Mark:
        """What an answer has to show that is asked for now."""
        return Mark(self._term, self._revision, self._number)

    def check(self) -> None:
        """Raises `StoreRestoredError` once a restored store was recognised."""
        if self._restored:
            raise StoreRestoredError(self._restored)

    def saw(self, header: ResponseHeader, *, since: Mark | None) -> None:
        """Takes in an answer's header.

        Args:
            header: of the answer.
            since: the mark from before it was asked for; None where a member may answer from what
                it happens to have, which says nothing about the cluster's latest.

        Raises:
            StoreRestoredError: it comes from another history than what was seen before.
        """
        self.check()
        if since is not None and since.history_number != self._number:
            return  # asked for before another history was accepted, so it says nothing of this one
        if self._cluster_id and header.cluster_id != self._cluster_id:
            self._restored = (
                f"etcd was cluster {self._cluster_id:016x} and is {header.cluster_id:016x} now"
            )
        elif since is not None and header.revision < since.revision:
            self._restored = (
                f"etcd was at revision {since.revision} and is at {header.revision} now"
            )
        elif since is not None and 0 < header.raft_term < since.term:
            # 0: a member that has just started from a snapshot, and knows no term yet.
            self._restored = f"etcd was in term {since.term} and is in {header.raft_term} now"
        self.check()
        self._cluster_id = header.cluster_id
        if since is not None:
            self._term = max(self._term, header.raft_term)
            self._revision = max(self._revision, header.revision)

    def begin_anew(self) -> None:
        """Forgets what was seen: the next answer is believed."""
        self._cluster_id = self._term = self._revision = 0
        self._restored = ""
        self._number += 1
