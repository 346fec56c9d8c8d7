"""What a handler returns: steps of changes, and the response once they are written.

Owns `Result` and the rule of steps. A step is written whole, in one transaction; steps are written
in order, and a controller may die between two of them: after any step, the records alone must tell
a successor what is left to do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

from ottla_controller.core.record_keys import Record, key_of

STEP_CHANGES_MAX: Final = 128
"""Operations that a transaction of the store takes."""
TRANSACTION_BYTES_MAX: Final = 1_500_000
"""Below the 1.5 MiB that a transaction of the store takes."""

Response_co = TypeVar("Response_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Put:
    """The record as it shall be."""

    record: Record
    key: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", key_of(self.record))


@dataclass(frozen=True, slots=True)
class Remove:
    """The key shall be gone."""

    key: bytes


Change = Put | Remove
Step = tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Result(Generic[Response_co]):
    """Changes to be written, and what to answer once they are.

    Steps may be worked out while they are written, a transaction at a time: planning thousands of
    partitions must not keep the loop. Nothing else is written meanwhile.
    """

    response: Response_co
    steps: Iterable[Step] = ()


def one_by_one(changes: Iterable[Change]) -> Iterator[Step]:
    """Steps of one change each, for changes that need no company."""
    return ((change,) for change in changes)


def is_one_step(changes: Step) -> bool:
    """Whether changes fit into one transaction."""
    return len(changes) <= STEP_CHANGES_MAX and sum(map(_size, changes)) <= TRANSACTION_BYTES_MAX


def transactions(steps: Iterable[Step]) -> Iterator[list[Change]]:
    """As many steps together as a transaction takes."""
    batch: dict[bytes, Change] = {}
    size = 0
    for step in steps:
        step_size = sum(map(_size, step))
        assert len(step) <= STEP_CHANGES_MAX, "a step fits into a transaction"
        assert step_size <= TRANSACTION_BYTES_MAX, "a step fits into a transaction"
        full = len(batch) + len(step) > STEP_CHANGES_MAX or size + step_size > TRANSACTION_BYTES_MAX
        if batch and (full or any(change.key in batch for change in step)):
            yield list(batch.values())
            batch, size = {}, 0
        batch.update((change.key, change) for change in step)
        size += step_size
    if batch:
        yield list(batch.values())


def _size(change: Change) -> int:
    return len(change.key) + (change.record.ByteSize() if isinstance(change, Put) else 0)
