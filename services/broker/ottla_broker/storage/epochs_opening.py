"""Finds the leader epochs of a log that is being opened: on file, or from its batches.

    the log's own file ─► and what the directory's knows beyond it ─► all epochs
            any of these lost or damaged ─► the batches, and the latest that is known besides

Blocking, off the loop. Does not own what is written where while a log runs: `log_epochs`.
"""

from __future__ import annotations

from collections.abc import Callable

from ottla_broker.core.documents import DamagedDocumentError
from ottla_broker.core.leader_epochs import LeaderEpochs
from ottla_broker.core.log_events import EpochsRebuilt, EventSink
from ottla_broker.storage.filesystem import is_full
from ottla_broker.storage.kept_epochs import NO_EPOCHS, KeptEpochs
from ottla_broker.storage.replica_files import ReplicaFiles


class EpochsOpening:
    """Reads the epochs of one log, once."""

    def __init__(self, files: ReplicaFiles, *, kept: KeptEpochs | None, events: EventSink) -> None:
        """`kept` is what the directory's file says of the log; None: that is lost."""
        self._files = files
        self._kept = kept
        self._events = events

    def read(
        self, written: Callable[[], LeaderEpochs], *, log_end: int, is_empty: bool
    ) -> tuple[LeaderEpochs, int | None]:
        """The log's epochs, and up to which of them its own file has them.

        Args:
            written: the epochs that its batches were written under.
            log_end: where it ends.
            is_empty: whether it has no batches.
        """
        filed: LeaderEpochs | None = None
        try:
            filed = self._files.read_epochs()
            kept = self._kept_beyond(filed, is_empty=is_empty)
        except DamagedDocumentError as error:
            epochs = self._with_latest(
                LeaderEpochs() if is_empty else written(), filed, log_end=log_end
            )
            return epochs, self._file(epochs, cause="" if is_empty else str(error))
        return kept.added_to(filed or LeaderEpochs()), filed.latest if filed else None

    def _kept_beyond(self, filed: LeaderEpochs | None, *, is_empty: bool) -> KeptEpochs:
        """What the directory knows of the epochs. Raises DamagedDocumentError if any are lost."""
        kept = self._kept
        if kept is None:
            raise DamagedDocumentError("those that began lately are lost")
        if filed is None and (kept.filed_up_to is not None or (not kept.entries and not is_empty)):
            raise DamagedDocumentError("missing")
        return kept

    def _with_latest(
        self, epochs: LeaderEpochs, filed: LeaderEpochs | None, *, log_end: int
    ) -> LeaderEpochs:
        """With those that are known of besides: no batch is of them, so they wrote nothing."""
        kept = self._kept or NO_EPOCHS
        for entry in (*(filed.entries if filed else ()), *kept.entries):
            if epochs.latest is None or entry.epoch > epochs.latest:
                epochs.begin(entry.epoch, log_end)
        return epochs

    def _file(self, epochs: LeaderEpochs, *, cause: str) -> int | None:
        """Write the log's own file, if there is room; returns up to which epoch it has them."""
        if cause:
            self._events(
                EpochsRebuilt(
                    topic=self._files.name.topic,
                    partition=self._files.name.partition,
                    cause=cause,
                )
            )
        try:
            self._files.write_epochs(epochs)
        except OSError as error:
            if not is_full(error):
                raise
            return None
        return epochs.latest
