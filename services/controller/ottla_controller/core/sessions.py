"""Sessions of brokers, in the active controller's memory: who was heard of lately.

Owns deadlines on the monotonic clock, and which metadata a broker must have applied to be let in.
Soft state: a new controller gives every registered broker one full session. A controller that was
itself late extends all deadlines by its own lag, because it did not listen meanwhile. Pure; used by
the controller's loop alone.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

SETTLE_MS: Final = 1_000
"""A broker that lacks metadata older than this is not let in."""
_HISTORY_MAX: Final = 4_096


@dataclass(slots=True)
class _Session:
    broker_epoch: int
    registered_revision: int
    deadline_ms: int


class SessionTable:
    """Sessions by node id."""

    def __init__(self, *, session_timeout_ms: int) -> None:
        self._session_timeout_ms = session_timeout_ms
        self._sessions: dict[int, _Session] = {}
        self._revisions: deque[tuple[int, int]] = deque(maxlen=_HISTORY_MAX)
        self._settled_revision = 0

    def begin(
        self, node_id: int, *, broker_epoch: int, registered_revision: int, now_ms: int
    ) -> None:
        """A registration was accepted, or taken over from the controller before."""
        deadline_ms = now_ms + self._session_timeout_ms
        self._sessions[node_id] = _Session(broker_epoch, registered_revision, deadline_ms)

    def touch(self, node_id: int, *, broker_epoch: int, now_ms: int) -> None:
        """A heartbeat of the current broker epoch came; begins an ended session again."""
        session = self._sessions.get(node_id)
        if session is None or session.broker_epoch != broker_epoch:
            self.begin(node_id, broker_epoch=broker_epoch, registered_revision=0, now_ms=now_ms)
        else:
            session.deadline_ms = now_ms + self._session_timeout_ms

    def end(self, node_id: int) -> None:
        """The broker said goodbye."""
        self._sessions.pop(node_id, None)

    def remaining_ms(self, node_id: int, *, now_ms: int) -> int:
        """How long the session lasts without further heartbeats; 0: there is none."""
        session = self._sessions.get(node_id)
        return max(0, session.deadline_ms - now_ms) if session else 0

    def expired(self, now_ms: int) -> list[tuple[int, int]]:
        """Node id and broker epoch of the sessions that are over, by node id."""
        return sorted(
            (node_id, session.broker_epoch)
            for node_id, session in self._sessions.items()
            if session.deadline_ms <= now_ms
        )

    def extend(self, lag_ms: int) -> None:
        """Nobody could be heard for `lag_ms`."""
        for session in self._sessions.values():
            session.deadline_ms += lag_ms

    def note_revision(self, revision: int, *, now_ms: int) -> None:
        """From now on the metadata that brokers see is of this revision."""
        self._revisions.append((now_ms, revision))

    def has_caught_up(self, node_id: int, *, applied_revision: int, now_ms: int) -> bool:
        """Whether a broker knows of its own registration and of all that is not brand-new."""
        while self._revisions and self._revisions[0][0] <= now_ms - SETTLE_MS:
            self._settled_revision = self._revisions.popleft()[1]
        session = self._sessions.get(node_id)
        registered_revision = session.registered_revision if session else 0
        return applied_revision >= max(registered_revision, self._settled_revision)
