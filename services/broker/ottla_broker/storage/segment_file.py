"""An open segment file that lives as long as somebody reads it, unlinked or not."""

from __future__ import annotations

from ottla_broker.storage.filesystem import Filesystem


class SegmentFile:
    """A descriptor and the number of its holders; begins with one, who opened it.

    Used from the event loop's thread only; other threads may use the descriptor of a file that is
    held for them. Fits the transport's `FileOwner`.
    """

    __slots__ = ("_fd", "_filesystem", "_holders")

    def __init__(self, fd: int, *, filesystem: Filesystem) -> None:
        self._fd = fd
        self._filesystem = filesystem
        self._holders = 1

    @property
    def holders(self) -> int:
        """How many rely on the descriptor now."""
        return self._holders

    @property
    def is_open(self) -> bool:
        return self._holders > 0

    def fileno(self) -> int:
        """The descriptor; valid for a holder."""
        assert self._holders > 0, "the file has no holder"
        return self._fd

    def acquire(self) -> None:
        """Count one more holder."""
        assert self._holders > 0, "the file is closed already"
        self._holders += 1

    def release(self) -> None:
        """Count one holder less; the last one out closes the descriptor."""
        assert self._holders > 0, "released more often than acquired"
        self._holders -= 1
        if self._holders == 0:
            self._filesystem.close(self._fd)
