"""How many records of which kind are in exported metadata, as its bytes come by. Pure.

    length (varint) · record │ length · record │ … │ length · end

A record is a oneof: its tag is its kind.

Owns reading lengths and kinds, whatever pieces the bytes come in. What records say is the
cluster's.
"""

from __future__ import annotations

from collections import Counter
from typing import Final

_KINDS: Final = {
    1: "cluster", 2: "topics", 3: "partitions", 4: "brokers", 5: "settings", 6: "producer ids",
}  # fmt: skip
_SHOWN: Final = {
    "topics": ("topic", "topics"),
    "partitions": ("partition", "partitions"),
    "brokers": ("broker", "brokers"),
    "settings": ("set of settings", "sets of settings"),
    "producer ids": ("block of producer ids", "blocks of producer ids"),
    "others": ("other", "others"),
}
_END: Final = 7
_VARINT_SIZE_MAX: Final = 10
_LENGTH_DELIMITED: Final = 2


class DamagedExportError(Exception):
    """These bytes are no export."""


class RecordCounter:
    """Told of an export's bytes in order."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._rest = b""
        self._skip = 0
        self._has_ended = False

    @property
    def record_count(self) -> int:
        """Records whose beginning came by."""
        return self.counts.total()

    @property
    def is_whole(self) -> bool:
        """Whether the end came by, and was whole where the bytes ended."""
        return self._has_ended and not self._rest and not self._skip

    def feed(self, chunk: bytes) -> None:
        """The next bytes. Raises DamagedExportError."""
        passed = min(self._skip, len(chunk))
        self._skip -= passed
        data, position = self._rest + chunk[passed:], 0
        self._rest = b""
        while position < len(data):
            begin = _varint(data, position)
            tag = None if begin is None else _varint(data, begin[1])
            if begin is None or tag is None:
                self._rest = data[position:]  # the beginning of this one ends in the next chunk
                return
            size, record = begin
            self._take(tag[0])
            position = record + size
        self._skip += position - len(data)

    def _take(self, tag: int) -> None:
        if tag & 7 != _LENGTH_DELIMITED:
            raise DamagedExportError("these bytes are no exported metadata")
        self._has_ended = tag >> 3 == _END
        if not self._has_ended:
            self.counts[_KINDS.get(tag >> 3, "others")] += 1


def _varint(data: bytes, position: int) -> tuple[int, int] | None:
    """A number and where it ends; None: it isn't whole. Raises DamagedExportError."""
    value = 0
    for place, byte in enumerate(data[position : position + _VARINT_SIZE_MAX]):
        value |= (byte & 0x7F) << (7 * place)
        if byte < 0x80:
            return value, position + place + 1
    if len(data) - position >= _VARINT_SIZE_MAX:
        raise DamagedExportError("these bytes are no exported metadata")
    return None


def summary(counts: Counter[str]) -> str:
    """Counts as people read them: `2 topics, 12 partitions`."""
    parts = [
        f"{counts[kind]:,} {one if counts[kind] == 1 else many}"
        for kind, (one, many) in _SHOWN.items()
        if counts[kind]
    ]
    return ", ".join(parts) or "an empty cluster"
