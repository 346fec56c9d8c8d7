"""Many records cut into portions that are handed over at once.

Owns the checks of values and pairs, and the size of portions: one that is put has room, together
with the heads of its batches. Does not own waiting for that room, nor what is done with a portion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple, cast

from ottla.client.core.outgoing_batch import RECORD_OVERHEAD
from ottla.client.record_values import Serializer, plain_size, serialized
from ottla.protocol.errors import OttlaError

Item = bytes | tuple[bytes | None, bytes | None]

PLAIN: Final = {bytes}


class Cut(NamedTuple):
    """Records for one portion, and their bytes in a batch at most."""

    items: Sequence[Item]
    size: int


class Cutter:
    """Belongs to one producer; for any thread."""

    def __init__(
        self,
        *,
        key_serializer: Serializer[object] | None,
        value_serializer: Serializer[object] | None,
        portion_size_max: int,
        check_size: Callable[[str, int], None],
    ) -> None:
        self._key_serializer = key_serializer
        self._value_serializer = value_serializer
        self._is_custom = key_serializer is not None or value_serializer is not None
        self._portion_size_max = portion_size_max
        self._check_size = check_size

    def cut(self, topic: str, values: Sequence[object]) -> Iterator[Cut]:
        """Portions of the values, in order; at least one record each.

        Raises:
            InvalidRequest: a value or key cannot be turned into bytes; what was before it is cut.
            RecordTooLarge: a record exceeds what a batch may hold; likewise.
        """
        if not self._is_custom and set(map(type, values)) == PLAIN:
            plain = cast("Sequence[bytes]", values)
            size = plain_size(plain)
            if size <= self._portion_size_max:
                self._check_size(topic, plain_size([max(plain, key=len)]))
                yield Cut(plain, size)
                return
        yield from self._one_by_one(topic, values)

    def _one_by_one(self, topic: str, values: Sequence[object]) -> Iterator[Cut]:
        items: list[Item] = []
        size = 0
        for value in values:
            try:
                item, item_size = self._item(value)
                self._check_size(topic, item_size)
            except OttlaError:
                if items:
                    yield Cut(items, size)
                raise
            if items and size + item_size > self._portion_size_max:
                yield Cut(items, size)
                items, size = [], 0
            items.append(item)
            size += item_size
        if items:
            yield Cut(items, size)

    def _item(self, given: object) -> tuple[Item, int]:
        key, value = given if isinstance(given, tuple) and len(given) == 2 else (None, given)
        raw_key = serialized(key, self._key_serializer, "key")
        raw_value = serialized(value, self._value_serializer, "value")
        size = RECORD_OVERHEAD + len(raw_key or b"") + len(raw_value or b"")
        return (raw_key, raw_value), size
