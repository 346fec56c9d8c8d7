"""Buffers of large messages, used again once nobody looks at what they held.

A fresh megabyte costs more than receiving into it: the kernel clears its pages, one fault each.
So buffers are kept, and given out again when the last view of their message is gone. Nobody has
to give one back: whoever holds a payload holds the buffer, and letting go of it is enough.
"""

from __future__ import annotations

import sys

_SIZE_MIN = 64 * 1024
_KEPT_SIZE_MAX = 16 << 20


def _references(kept: list[bytearray], position: int) -> int:
    return sys.getrefcount(kept[position])


# What that is for a buffer nobody looks at, in the Python that runs this.
_UNSEEN_REFERENCES = _references([bytearray()], 0)


class MessageBuffers:
    """The buffers of one event loop; used from its thread only."""

    def __init__(self, kept_size_max: int = _KEPT_SIZE_MAX) -> None:
        self._kept_size_max = kept_size_max
        self._kept: list[bytearray] = []
        self._kept_size = 0

    @property
    def kept_size(self) -> int:
        """Bytes held for use, or in use and to be used again."""
        return self._kept_size

    def used_again(self, size: int) -> bytearray | None:
        """A kept buffer of at least `size` bytes, and at most four times that, or None.

        It is not cleared: the caller shows others only what it has written.
        """
        kept = self._kept
        for position in range(len(kept)):
            if size <= len(kept[position]) <= 4 * size and self._is_unseen(position):
                return kept[position]
        return None

    def keep(self, buffer: bytearray) -> None:
        """Remember a buffer that is in use now, to give it out again later.

        When there is no room, kept ones that nobody looks at make it.
        """
        size = len(buffer)
        if size < _SIZE_MIN or size > self._kept_size_max:
            return
        while self._kept_size + size > self._kept_size_max:
            if not self._forget_one():
                return
        self._kept.append(buffer)
        self._kept_size += size

    def _forget_one(self) -> bool:
        for position in range(len(self._kept)):
            if self._is_unseen(position):
                self._kept_size -= len(self._kept.pop(position))
                return True
        return False

    def _is_unseen(self, position: int) -> bool:
        return _references(self._kept, position) == _UNSEEN_REFERENCES
