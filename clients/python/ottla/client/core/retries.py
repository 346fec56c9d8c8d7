"""Whether a failed batch is sent again, and after what wait.

Owns the reading of reasons: which say that nothing was appended, which leave it open, which are
final. Decides on the reason's class alone, never on text. Does not own deadlines.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from ottla.protocol.errors import (
    AcksTimedOut,
    OttlaError,
    OutcomeUnknown,
    RecordTooLarge,
    StatusCode,
)

_DOUBLINGS_MAX = 30
# Statuses by which a proxy, or gRPC itself, ends a call that may have been served.
_OPEN_STATUSES = {StatusCode.CANCELLED, StatusCode.DEADLINE_EXCEEDED, StatusCode.UNKNOWN}


class Verdict(Enum):
    """What a producer does about a batch that failed."""

    RETRY = auto()
    SPLIT = auto()
    """Send its records in smaller batches."""
    GIVE_UP = auto()


def verdict(error: OttlaError, *, attempt_count: int, retries_max: int | None) -> Verdict:
    """What to do after `attempt_count` attempts, the last of which failed with `error`."""
    if isinstance(error, RecordTooLarge):
        return Verdict.SPLIT
    if not error.retriable:
        return Verdict.GIVE_UP
    if retries_max is not None and attempt_count > retries_max:
        return Verdict.GIVE_UP
    return Verdict.RETRY


def leaves_open(error: OttlaError, *, is_answer: bool) -> bool:
    """Whether the batch may have been appended although its attempt failed.

    Args:
        error: what the attempt failed with.
        is_answer: it is the leader's answer to this very request; otherwise the stream broke.
    """
    if isinstance(error, OutcomeUnknown | AcksTimedOut):
        return True
    return not is_answer or error.status in _OPEN_STATUSES


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts: doubling from the first to the longest, with full jitter."""

    first_ms: int = 50
    longest_ms: int = 2_000

    def wait_ms(self, failure_count: int, *, chance: float, least_ms: int | None = None) -> int:
        """The wait after so many failures in a row.

        Args:
            failure_count: at least 1.
            chance: 0 to below 1, spreads the waits of many clients.
            least_ms: what the server asked for.
        """
        doublings = min(failure_count - 1, _DOUBLINGS_MAX)
        bound_ms = min(self.longest_ms, self.first_ms * 2**doublings)
        return max(1, int(bound_ms * chance), least_ms or 0)
