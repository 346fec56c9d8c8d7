"""How far each log of a directory is durable, committed and trimmed: the directory's checkpoint.

    recovery point   everything below was flushed before the mark was made
    high watermark   everything below was committed
    log start        everything below was given up

One file for the directory, replaced whole and durably, so that all marks are of one moment, in room
kept for it, so that what is given up on a full disk can be written down.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ottla_broker.core.documents import DamagedDocumentError, decode_document, encode_document
from ottla_broker.core.replica_name import ReplicaName
from ottla_broker.storage.filesystem import Filesystem
from ottla_broker.storage.reserved_file import replace_in_reserved_room

CHECKPOINT_FILE: Final = "checkpoint"
_KIND = "checkpoint"


@dataclass(frozen=True, slots=True)
class Marks:
    """The marks of one log; `recovery_point` None: it is not known."""

    recovery_point: int | None
    high_watermark: int
    log_start: int


NEW_LOG: Final = Marks(recovery_point=0, high_watermark=0, log_start=0)
UNKNOWN: Final = Marks(recovery_point=None, high_watermark=0, log_start=0)


def mark_key(name: ReplicaName) -> str:
    """What a log is called in the checkpoint."""
    return f"{name.topic_id.hex()}-{name.partition}"


def write_checkpoint(filesystem: Filesystem, directory: Path, marks: Mapping[str, Marks]) -> None:
    """Replace the checkpoint, durably; blocking. Raises OSError."""
    body = {
        key: [one.recovery_point, one.high_watermark, one.log_start] for key, one in marks.items()
    }
    document = encode_document(_KIND, body)
    replace_in_reserved_room(filesystem, directory / CHECKPOINT_FILE, document)


def read_checkpoint(filesystem: Filesystem, directory: Path) -> dict[str, Marks]:
    """The marks of all logs; blocking.

    Raises:
        DamagedDocumentError: the file is missing or damaged.
        UnsupportedVersion: a newer release wrote it.
    """
    path = directory / CHECKPOINT_FILE
    if not filesystem.exists(path):
        raise DamagedDocumentError("missing")
    body = decode_document(_KIND, filesystem.read_file(path))
    try:
        return {key: _marks(values) for key, values in body.items()}
    except (TypeError, ValueError) as error:
        raise DamagedDocumentError(f"unreadable: {error!r}") from None


def _marks(values: list[int | None]) -> Marks:
    recovery_point, high_watermark, log_start = values
    numbers = (recovery_point or 0, high_watermark, log_start)
    if not all(isinstance(number, int) and number >= 0 for number in numbers):
        raise ValueError(f"marks {values!r}")
    assert high_watermark is not None
    assert log_start is not None
    return Marks(recovery_point, high_watermark, log_start)
