"""How services write logs: one JSON line an event, to stderr.

Owns the configuration of structlog and of the standard library's `logging`, which libraries use.
Cores do not log and libraries do not configure; a service calls `configure_logs` once, first of
all. Names of keys are in `fields`, names of events are past tense and dotted: `segment.rolled`.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, TextIO

import structlog

from ottla_runtime import fields

_LEVELS: Final = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
_VALUE_CHARACTERS_MAX: Final = 16_384
_FIRST: Final = (fields.TIMESTAMP, fields.LEVEL, fields.EVENT)
_EventDict = MutableMapping[str, Any]


def configure_logs(
    *, service: str, node_id: int, level: str = "info", stream: TextIO | None = None
) -> None:
    """Send every log line of this process to `stream` (stderr) as JSON.

    Args:
        service: goes on every line.
        node_id: goes on every line.
        level: least severe lines that are written: debug, info, warning or error.
        stream: where lines go.
    """
    target = stream or sys.stderr
    least = _LEVELS[level]
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key=fields.TIMESTAMP),
            structlog.processors.format_exc_info,
            _Identity(service, node_id),
            _render,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=_LineLoggerFactory(target),
        cache_logger_on_first_use=False,
    )
    logging.captureWarnings(True)
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler(least)]
    # Libraries speak up only where something is wrong: their routine is not our business.
    root.setLevel(max(least, logging.WARNING))
    sys.unraisablehook = _log_unraisable


def set_log_level(level: str) -> None:
    """Make another level the least severe that is written, from the next line on."""
    least = _LEVELS[level]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(least))
    root = logging.getLogger()
    for handler in root.handlers:
        handler.setLevel(least)
    root.setLevel(max(least, logging.WARNING))


def _log_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    """What Python can only print, such as a failure in a destructor, is a line like any other."""
    error = unraisable.exc_value
    structlog.get_logger().warning(
        "error.ignored",
        **{fields.ERROR: f"{type(error).__name__}: {error}", "source": repr(unraisable.object)},
    )


class _Identity:
    """Puts on each line who wrote it."""

    def __init__(self, service: str, node_id: int) -> None:
        self._service = service
        self._node_id = node_id

    def __call__(self, logger: object, method: str, event: _EventDict) -> _EventDict:
        event[fields.SERVICE] = self._service
        event.setdefault(fields.NODE_ID, self._node_id)
        return event


def _render(_logger: object, _method: str, event: _EventDict) -> str:
    """The line: what happened first, the rest in the order it was given."""
    line = {key: event.pop(key) for key in _FIRST if key in event}
    for key, value in event.items():
        line[key] = value[:_VALUE_CHARACTERS_MAX] if isinstance(value, str) else value
    return json.dumps(line, default=_as_json, separators=(",", ":"))


def _as_json(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)[:_VALUE_CHARACTERS_MAX]


class _LineLogger:
    """Writes a rendered line; a reader that went away must not end the service."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def msg(self, line: str) -> None:
        try:
            self._stream.write(line + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            return  # nobody is left to tell: stderr is closed or its disk is full

    debug = info = warning = error = critical = exception = fatal = log = failure = msg


class _LineLoggerFactory:
    def __init__(self, stream: TextIO) -> None:
        self._logger = _LineLogger(stream)

    def __call__(self, *arguments: object) -> _LineLogger:
        return self._logger


class _LibraryHandler(logging.Handler):
    """Turns what libraries log into lines of ours."""

    def emit(self, record: logging.LogRecord) -> None:
        try:
            structlog.get_logger().log(
                record.levelno,
                "library.logged",
                **{fields.LOGGER: record.name, "message": record.getMessage()},
                exc_info=record.exc_info or None,
            )
        except Exception:  # noqa: BLE001 - a handler is a root: logging reports what it raised
            self.handleError(record)
