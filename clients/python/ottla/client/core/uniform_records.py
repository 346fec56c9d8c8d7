"""Payloads whose records look alike, read by columns of bytes instead of record by record.

    0x0A size │ 0x08 time │ 0x10 delta │ 0x1A size key │ 0x22 size value      one record
    `------------------------- the same layout, many times -----------------'   a run

Streams of measurements and events of fixed size are common, and so are runs of equal sizes in
others. Where a run of records has one layout, every byte that isn't content must repeat at the
stride of a record: slices with a step verify that, and cut the contents out, at the speed of C.

Owns recognising such runs, completely, or not at all: what deviates is left to the general way.
Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

RUNS_FREE: Final = 6
RUN_COUNT_LEAST: Final = 8
"""Runs have to be so long on average, beyond the first few, or the general way is faster."""
_SIZE_WIDTH_MAX = 4
_TIME_WIDTH_MAX = 3
# Offset deltas as they are written: doubled, in 1 byte to 63, in 2 bytes to 8,191.
_DELTA_1_END = 64
_DELTA_2_END = 8_192
_DELTAS_LOW = bytes(2 * delta & 0x7F | 0x80 for delta in range(_DELTA_2_END))
_DELTAS_HIGH = bytes(2 * delta >> 7 for delta in range(_DELTA_2_END))
_DELTAS_ONE = bytes(2 * delta for delta in range(_DELTA_1_END))


@dataclass(slots=True)
class UniformColumns:
    """The contents of a payload whose offset deltas are 0, 1, 2, …; no record has headers."""

    time_deltas: list[int]
    keys: list[bytes | None]
    values: list[bytes]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Where the parts of a record lie, from its first byte; key and value as start and end."""

    size: int
    time: tuple[int, int] | None
    delta: tuple[int, int] | None
    key: tuple[int, int] | None
    value: tuple[int, int]


def read_uniform(payload: bytes, record_count: int) -> UniformColumns | None:
    """The payload's columns; None where some record doesn't fit a run."""
    columns = UniformColumns([], [], [])
    position = done = run_count = 0
    while done < record_count:
        layout = _layout(payload, position)
        run_count += 1
        if layout is None or run_count > RUNS_FREE + done // RUN_COUNT_LEAST:
            return None
        count = _run_count(payload, position, done, record_count - done, layout)
        if count == 0:
            return None
        _take(payload, position, count, layout, columns)
        position += count * layout.size
        done += count
    return columns if position == len(payload) else None


def _varint_end(payload: bytes, position: int, width_max: int) -> int | None:
    for end in range(position + 1, position + 1 + width_max):
        if payload[end - 1] < 0x80:
            return end
    return None


def _varint(payload: bytes, start: int, end: int) -> int:
    return sum((payload[at] & 0x7F) << 7 * (at - start) for at in range(start, end))


def _sized(payload: bytes, position: int) -> tuple[int, int] | None:
    """Start and end of what has its size before it."""
    start = _varint_end(payload, position, _SIZE_WIDTH_MAX)
    if start is None:
        return None
    return start, start + _varint(payload, position, start)


def _layout(payload: bytes, position: int) -> _Layout | None:
    """The layout of the record at a position, if it is one that a run may have."""
    try:
        if payload[position] != 0x0A:
            return None
        whole = _sized(payload, position + 1)
        if whole is None or whole[1] > len(payload):
            return None
        at, end = whole
        parts: dict[int, tuple[int, int]] = {}
        for tag, width_max in ((0x08, _TIME_WIDTH_MAX), (0x10, 2)):
            if payload[at] == tag:
                after = _varint_end(payload, at + 1, width_max)
                if after is None:
                    return None
                parts[tag] = at + 1 - position, after - position
                at = after
        for tag in (0x1A, 0x22):
            if payload[at] == tag:
                content = _sized(payload, at + 1)
                if content is None or content[1] > end:
                    return None
                parts[tag] = content[0] - position, content[1] - position
                at = content[1]
    except IndexError:
        return None
    if at != end or 0x22 not in parts:
        return None
    return _Layout(end - position, parts.get(0x08), parts.get(0x10), parts.get(0x1A), parts[0x22])


def _run_count(payload: bytes, position: int, first: int, most: int, layout: _Layout) -> int:
    """How many records from here on have the layout and the deltas they should."""
    expected = _expected_deltas(first, layout)
    if expected is None:
        return 0
    size = layout.size
    count = min(most, (len(payload) - position) // size)
    if layout.delta is not None:
        start = layout.delta[0]
        for column, wanted in enumerate(expected):
            count = min(count, len(wanted))
            at = position + start + column
            found = payload[at : position + count * size : size]
            if found != wanted[:count]:
                count = _common(found, wanted)
    else:
        count = min(count, 1)
    for at in _fixed_places(layout):
        column_bytes = payload[position + at : position + count * size : size]
        count -= len(column_bytes.lstrip(column_bytes[:1]))
    return _run_count_by_times(payload, position, count, layout)


def _fixed_places(layout: _Layout) -> list[int]:
    """Bytes that have to be the same in every record of a run: tags and sizes."""
    places: list[int] = []
    at = 0
    for part in (layout.time, layout.delta, layout.key, layout.value):
        if part is not None:
            places += range(at, part[0])
            at = part[1]
    return places


def _common(found: bytes, wanted: bytes) -> int:
    for index, byte in enumerate(found):
        if byte != wanted[index]:
            return index
    return len(found)


def _expected_deltas(first: int, layout: _Layout) -> tuple[bytes, ...] | None:
    """The columns of bytes that the deltas from `first` on have to be."""
    if layout.delta is None:
        return () if first == 0 else None
    width = layout.delta[1] - layout.delta[0]
    if width == 1 and 0 < first < _DELTA_1_END:
        return (_DELTAS_ONE[first:],)
    if width == 2 and _DELTA_1_END <= first < _DELTA_2_END:
        return _DELTAS_LOW[first:], _DELTAS_HIGH[first:]
    return None


def _run_count_by_times(payload: bytes, position: int, count: int, layout: _Layout) -> int:
    """The times of a run are as wide as that of its first record."""
    if layout.time is None:
        return count
    start, end = layout.time
    size = layout.size
    for at in range(start, end):
        column = payload[position + at : position + count * size : size]
        if not column:
            return 0
        goes_on = at < end - 1
        if (min(column) < 0x80) if goes_on else (max(column) >= 0x80):
            count = next(
                index for index, byte in enumerate(column) if (byte >= 0x80) is not goes_on
            )
    return count


def _take(
    payload: bytes, position: int, count: int, layout: _Layout, columns: UniformColumns
) -> None:
    columns.values += _contents(payload, position, count, layout.size, layout.value)
    if layout.key is None:
        columns.keys += [None] * count
    else:
        columns.keys += _contents(payload, position, count, layout.size, layout.key)
    columns.time_deltas += _times(payload, position, count, layout)


def _contents(
    payload: bytes, position: int, count: int, size: int, part: tuple[int, int]
) -> list[bytes]:
    """A part of every record of a run."""
    first, length = position + part[0], part[1] - part[0]
    return [payload[at : at + length] for at in range(first, first + count * size, size)]


def _times(payload: bytes, position: int, count: int, layout: _Layout) -> list[int]:
    if layout.time is None:
        return [0] * count
    start, stop = layout.time
    end = position + count * layout.size
    parts = [payload[position + at : end : layout.size] for at in range(start, stop)]
    if all(part.count(part[:1]) == count for part in parts):
        return [_unzigzag(_varint(payload, position + start, position + stop))] * count
    encoded: list[int] = [0] * count
    for shift, part in enumerate(parts):
        encoded = [
            value | (byte & 0x7F) << 7 * shift for value, byte in zip(encoded, part, strict=True)
        ]
    return [_unzigzag(value) for value in encoded]


def _unzigzag(value: int) -> int:
    return value >> 1 ^ -(value & 1)
