"""Leader epochs that began lately, of all logs of a directory: durable by one write for them all.

    leader-epochs of the directory   {log: up to which epoch its own file knows, epochs after that}
    leader-epochs of a log           its older epochs

A broker that starts begins an epoch in every log it leads. A file for each would be two flushes for
each; here one write serves all that begin meanwhile. A log's own file takes over when it has many.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ottla_broker.core.documents import DamagedDocumentError, decode_document, encode_document
from ottla_broker.core.leader_epochs import EpochStart, LeaderEpochs
from ottla_broker.storage.filesystem import Filesystem
from ottla_broker.storage.reserved_file import replace_in_reserved_room

EPOCHS_FILE: Final = "leader-epochs"
_KIND = "directory-leader-epochs"


@dataclass(frozen=True, slots=True)
class KeptEpochs:
    """The epochs of one log that its own file does not have."""

    filed_up_to: int | None = None
    """The latest epoch of its own file; None: it has none, and has had no older epoch."""
    entries: tuple[EpochStart, ...] = ()

    def added_to(self, filed: LeaderEpochs) -> LeaderEpochs:
        """The log's epochs, from those of its own file, which may be newer than these."""
        epochs = LeaderEpochs(filed.entries)
        for entry in self.entries:
            if epochs.latest is None or entry.epoch > epochs.latest:
                epochs.truncate_end(entry.start_offset + 1)  # cut off before it began
                epochs.begin(entry.epoch, entry.start_offset)
        return epochs


NO_EPOCHS: Final = KeptEpochs()


def write_kept_epochs(
    filesystem: Filesystem, directory: Path, kept: Mapping[str, KeptEpochs | None]
) -> None:
    """Replace the directory's file of epochs, durably; blocking. Raises OSError.

    None says of a log that its epochs are not known.
    """
    body = {
        key: one and [one.filed_up_to, [[each.epoch, each.start_offset] for each in one.entries]]
        for key, one in kept.items()
    }
    replace_in_reserved_room(filesystem, directory / EPOCHS_FILE, encode_document(_KIND, body))


def read_kept_epochs(filesystem: Filesystem, directory: Path) -> dict[str, KeptEpochs | None]:
    """The epochs on file, by log; blocking.

    Raises:
        DamagedDocumentError: the file is missing or damaged.
        UnsupportedVersion: a newer release wrote it.
    """
    path = directory / EPOCHS_FILE
    if not filesystem.exists(path):
        raise DamagedDocumentError("missing")
    body = decode_document(_KIND, filesystem.read_file(path))
    try:
        return {key: values and _kept(*values) for key, values in body.items()}
    except (TypeError, ValueError) as error:
        raise DamagedDocumentError(f"unreadable: {error!r}") from None


def _kept(filed_up_to: Any, entries: Any) -> KeptEpochs:
    if filed_up_to is not None and not isinstance(filed_up_to, int):
        raise ValueError(f"{filed_up_to!r} is no epoch")
    epochs = LeaderEpochs(EpochStart(int(epoch), int(at)) for epoch, at in entries)
    return KeptEpochs(filed_up_to, epochs.entries)
