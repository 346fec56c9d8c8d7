"""Lines into records: what `ottla produce` reads.

Owns cutting bytes into lines of bounded size, and a line into key and value. Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from ottla_cli.failures import CommandFailed, UsageFailed

# A record must fit into a request of 1 MiB; a line beyond it can be refused while it is read.
LINE_BYTES_MAX: Final = 1024 * 1024


class Header(NamedTuple):
    """A header as given."""

    name: str
    value: bytes


@dataclass(frozen=True, slots=True)
class LineRecord:
    """A record made of a line."""

    key: bytes | None
    value: bytes | None

    def pair(self) -> tuple[bytes | None, bytes | None]:
        """Key and value."""
        return self.key, self.value

    def size_bytes(self) -> int:
        """Bytes of key and value."""
        return len(self.key or b"") + len(self.value or b"")


@dataclass(frozen=True, slots=True)
class LineRule:
    """How a line becomes a record.

    Attributes:
        key: the key of every record; excludes `separator`.
        separator: what stands between key and value in each line.
        null_value: the value that means "absent", a tombstone of the key.
    """

    key: bytes | None = None
    separator: bytes | None = None
    null_value: bytes | None = None

    def record(self, line: bytes, number: int) -> LineRecord:
        """The record of line `number`.

        Raises:
            CommandFailed: the line has no separator.
        """
        key, value = self.key, line
        if self.separator is not None:
            key, found, value = line.partition(self.separator)
            if not found:
                separator = self.separator.decode(errors="backslashreplace")
                raise CommandFailed(f"line {number} has no {separator!r} between key and value")
        return LineRecord(key, None if value == self.null_value else value)


class LineCutter:
    """Cuts chunks of bytes into lines, without the LF or CR LF that ends them."""

    def __init__(self, *, line_bytes_max: int = LINE_BYTES_MAX) -> None:
        self._line_bytes_max = line_bytes_max
        self._rest = b""
        self._count = 0

    @property
    def count(self) -> int:
        """Lines cut so far."""
        return self._count

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes.

        Raises:
            CommandFailed: a line is longer than a record may be.
        """
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        for line in lines:
            yield self._counted(line.removesuffix(b"\r"))
        if len(self._rest) > self._line_bytes_max + 1:
            self._counted(self._rest)

    def finish(self) -> Iterator[bytes]:
        """The last line, where the input ends without a line end."""
        rest, self._rest = self._rest, b""
        if rest:
            yield self._counted(rest)

    def _counted(self, line: bytes) -> bytes:
        self._count += 1
        if len(line) > self._line_bytes_max:
            raise CommandFailed(
                f"line {self._count} is longer than {self._line_bytes_max} bytes, the most a"
                " record may have"
            )
        return line


def parse_header(text: str) -> Header:
    """The header written as `name=value`. Raises UsageFailed for anything else."""
    name, equals, value = text.partition("=")
    if not name or not equals:
        raise UsageFailed(f"header {text!r}: write name=value")
    return Header(name, value.encode(errors="surrogateescape"))
