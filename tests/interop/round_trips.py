"""What the programs of `clients/` are held to, whatever language they are in.

Owns the records that each of them sends, their checksum, what a run has to say, and the table of a
full run. Knows nothing of building or running.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import xor

PARTITION_COUNT = 4
REASON = "UNKNOWN_TOPIC_OR_PARTITION"
LANGUAGE_COUNT = 5
_HEADINGS = ("language", "connection", "records", "records/s", "checksum", "error reason", "")


@dataclass(frozen=True)
class Ran:
    """One run of a program: what it said, or why there is nothing."""

    title: str
    security: str
    outcome: Mapping[str, object] | None = None
    trouble: str = ""

    @property
    def well(self) -> bool:
        return not self.trouble


def checksum(count: int) -> str:
    """What a program that sends `count` records has to print for them.

    Per partition the CRC-32 over its records in order, a 0 or 1 between key and value telling
    whether there is one; then all partitions' together by exclusive or.
    """
    return f"{reduce(xor, (_partition_crc(each, count) for each in range(PARTITION_COUNT))):08x}"


def _partition_crc(partition: int, count: int) -> int:
    crc = 0
    for number in range(partition, count, PARTITION_COUNT):
        crc = zlib.crc32(b"key-%d" % (number % 1000), crc)
        if number % 101 == 100:
            crc = zlib.crc32(b"\0", crc)
        else:
            crc = zlib.crc32(b"\1" + (b"record %d " % number).ljust(100, b"."), crc)
    return crc


def outcome_of(printed: str) -> Mapping[str, object]:
    """The one line that a program prints.

    Raises:
        ValueError: it is anything else.
    """
    outcome = json.loads(printed)
    if not isinstance(outcome, dict) or printed.count("\n") != 1:
        raise ValueError(f"not one line with one object: {printed!r}")
    return outcome


def objections(outcome: Mapping[str, object], *, language: str, count: int) -> Sequence[str]:
    """What is wrong with an outcome, item by item."""
    sent = checksum(count)
    expected = {
        "language": language,
        "records": count,
        "sent": sent,
        "read": sent,
        "reason": REASON,
    }
    wrong = [
        f"{key} is {outcome.get(key)!r}, not {value!r}"
        for key, value in expected.items()
        if outcome.get(key) != value
    ]
    seconds = outcome.get("seconds")
    if not isinstance(seconds, int | float) or seconds <= 0:
        wrong.append(f"seconds is {seconds!r}")
    return wrong


def table(runs: Sequence[Ran]) -> str:
    """The runs, one a line."""
    rows = [_HEADINGS, *(_row(ran) for ran in runs)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths if width), *lines[1:]])


def _row(ran: Ran) -> tuple[str, ...]:
    if ran.outcome is None:
        # A failed build says much; its first line is enough here.
        return (ran.title, ran.security, "", "", "", "", ran.trouble.partition("\n")[0])
    said, count, rate = ran.outcome, str(ran.outcome.get("records")), ""
    match ran.outcome:
        case {"records": int(records), "seconds": int(seconds) | float(seconds)} if seconds > 0:
            count, rate = f"{records:,}", f"{records / seconds:,.0f}"
    return (
        *(ran.title, ran.security, count, rate, str(said.get("read"))),
        *(str(said.get("reason")), ran.trouble or "ok"),
    )


def verdict(runs: Sequence[Ran]) -> tuple[str, bool]:
    """The last line of a full run, and whether it passed: enough languages, and nothing wrong."""
    titles = dict.fromkeys(ran.title for ran in runs if ran.outcome is not None)
    passed = len(titles) >= LANGUAGE_COUNT and all(ran.well for ran in runs)
    names = f": {', '.join(titles)}" if titles else ""
    said = f"{len(titles)} of {LANGUAGE_COUNT} languages ran{names}"
    return (f"{said}; every check holds" if passed else f"FAILED: {said}"), passed
