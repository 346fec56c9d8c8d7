"""Where reading begins, as people write it: `--offset` and `--since`. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from ottla_cli.failures import UsageFailed

_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")
_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_NUMBER: Final = re.compile(r"-?[0-9]{1,19}")
_OFFSET_MAX: Final = 2**63 - 1
_MS: Final = timedelta(milliseconds=1)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Start:
    """Where to begin in every partition; exactly one is set, none means at the end."""

    earliest: bool = False
    offset: int | None = None
    last_count: int | None = None
    timestamp_ms: int | None = None


def parse_start(
    *, from_beginning: bool, offset: str | None, since: str | None, now: datetime
) -> Start:
    """The start that the options ask for.

    Raises:
        UsageFailed: more than one is given, or one cannot be understood.
    """
    if [from_beginning, offset is not None, since is not None].count(True) > 1:
        raise UsageFailed("give one of --from-beginning, --offset and --since")
    if from_beginning:
        return Start(earliest=True)
    if offset is not None:
        return parse_offset(offset)
    if since is not None:
        return Start(timestamp_ms=parse_since(since, now))
    return Start()


def parse_offset(text: str) -> Start:
    """`earliest`, `latest`, an offset, or `-N` for the last N."""
    if text in {"earliest", "beginning"}:
        return Start(earliest=True)
    if text in {"latest", "end"}:
        return Start()
    if not _NUMBER.fullmatch(text) or abs(int(text)) > _OFFSET_MAX:
        raise UsageFailed(
            f"offset {text!r} is none of: a number, -N for the last N, earliest, latest"
        )
    number = int(text)
    return Start(offset=number) if not text.startswith("-") else Start(last_count=-number)


def parse_since(text: str, now: datetime) -> int:
    """A moment in ms since 1970: a duration before `now` (`90s`, `15m`, `2h`, `7d`), or ISO 8601.

    A time without zone is local. Raises `UsageFailed`.
    """
    duration = _DURATION.fullmatch(text)
    try:
        if duration:
            moment = now - int(duration[1]) * _UNITS[duration[2]]
        else:
            moment = datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageFailed(
            f"time {text!r} is neither a duration, as 90s 15m 2h 7d, nor a time, as"
            " 2026-01-31 or 2026-01-31T12:00:00Z"
        ) from None
    return max(0, (moment - _EPOCH) // _MS)
