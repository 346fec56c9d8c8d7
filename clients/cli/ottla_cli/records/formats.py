"""Records into text: what `ottla consume` prints.

Owns the three formats. `text` is a line a record, its parts with a separator between; `json` is an
object a line, bytes as UTF-8 or else as {"base64": …}; `raw` is the values' bytes and nothing else.
Pure: a formatter takes records and returns bytes.
"""

from __future__ import annotations

import base64
import enum
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ottla import ConsumerRecord

    Record = ConsumerRecord[bytes, bytes]

# What a terminal would act on instead of showing it: escape sequences in data must stay data.
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_MS_PER_SECOND: Final = 1_000
_YEAR_9999_MS: Final = 253_402_300_799_999

Formatter = Callable[["Sequence[Record]"], bytes]


class RecordFormat(enum.StrEnum):
    """How records are printed."""

    TEXT = "text"
    JSON = "json"
    RAW = "raw"


@dataclass(frozen=True, slots=True)
class TextParts:
    """What a line of `text` holds beside the value, and how.

    Attributes:
        is_terminal: escape what a terminal would act on.
    """

    timestamp: bool = False
    partition: bool = False
    offset: bool = False
    key: bool = False
    headers: bool = False
    separator: str = "\t"
    null_text: str = "null"
    is_terminal: bool = False

    def lines(self, records: Sequence[Record]) -> bytes:
        """The lines of records."""
        if not self._is_value_alone:
            return b"".join(map(self.line, records))
        values = [record.value for record in records]
        if None in values:
            values = [self._bytes(value) for value in values]
        return b"\n".join([*values, b""])  # type: ignore[list-item]  # none is None by now

    @property
    def _is_value_alone(self) -> bool:
        parts = (self.timestamp, self.partition, self.offset, self.headers, self.key)
        return not any(parts) and not self.is_terminal

    def line(self, record: Record) -> bytes:
        """The line of one record."""
        cells: list[bytes] = []
        if self.timestamp:
            cells.append(iso_time(record.timestamp_ms).encode())
        if self.partition:
            cells.append(b"%d" % record.partition)
        if self.offset:
            cells.append(b"%d" % record.offset)
        if self.headers:
            pairs = (name.encode() + b"=" + self._bytes(value) for name, value in record.headers)
            cells.append(b",".join(pairs))
        if self.key:
            cells.append(self._bytes(record.key))
        cells.append(self._bytes(record.value))
        line = self.separator.encode(errors="surrogateescape").join(cells)
        return (_shown(line) if self.is_terminal else line) + b"\n"

    def _bytes(self, data: bytes | None) -> bytes:
        return self.null_text.encode(errors="surrogateescape") if data is None else data


def formatter(form: RecordFormat, parts: TextParts) -> Formatter:
    """Turns records into the bytes to print."""
    if form is RecordFormat.RAW:
        return lambda records: b"".join([record.value or b"" for record in records])
    if form is RecordFormat.JSON:
        return lambda records: b"".join(map(_json_line, records))
    return parts.lines


def iso_time(timestamp_ms: int) -> str:
    """A time as ISO 8601 in UTC with milliseconds; one outside of the calendar as its number."""
    if not 0 <= timestamp_ms <= _YEAR_9999_MS:
        return str(timestamp_ms)
    moment = datetime.fromtimestamp(timestamp_ms // _MS_PER_SECOND, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{timestamp_ms % _MS_PER_SECOND:03d}Z"


def _json_line(record: Record) -> bytes:
    document = {
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "timestamp_ms": record.timestamp_ms,
        "key": _json_bytes(record.key),
        "value": _json_bytes(record.value),
        "headers": [{"key": name, "value": _json_bytes(value)} for name, value in record.headers],
    }
    # ASCII only: no terminal acts on it, and no reader has to guess an encoding.
    return json.dumps(document, separators=(",", ":")).encode() + b"\n"


def _json_bytes(data: bytes | None) -> str | dict[str, str] | None:
    if data is None:
        return None
    try:
        return data.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(data).decode()}


def _shown(line: bytes) -> bytes:
    text = line.decode(errors="backslashreplace")
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text).encode()
