"""Where the log lines of hosted services go: to the host's own `logging`, under their modules.

Owns routing them there for as long as some host asks for it. structlog's configuration is the
process's and may be the host's, so only the loggers of services are taken aside; every other works
as it was configured. Where the host handles no log records, lines go nowhere.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, Final, cast

import structlog

_PREFIX: Final = "ottla_"
_ROOTS: Final = ("ottla_runtime", "ottla_broker", "ottla_controller")
_EventDict = MutableMapping[str, Any]


@contextlib.contextmanager
def logs_to_host() -> Iterator[None]:
    """Send lines of services to `logging` until the block ends; blocks may overlap."""
    _routing.begin()
    try:
        yield
    finally:
        _routing.end()


class _Routing:
    """structlog's configuration with ours in front of it, while any host is there."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._host_count = 0
        self._before: dict[str, Any] = {}
        self._was_configured = False

    def begin(self) -> None:
        with self._lock:
            self._host_count += 1
            if self._host_count > 1:
                return
            for name in _ROOTS:
                # Without any handler, `logging` itself would print warnings to stderr.
                logging.getLogger(name).addHandler(_SILENCE)
            self._was_configured = structlog.is_configured()
            self._before = structlog.get_config()
            structlog.configure(
                wrapper_class=cast("type[Any]", self._wrapped),
                logger_factory=self._made,
                cache_logger_on_first_use=False,
            )

    def end(self) -> None:
        with self._lock:
            self._host_count -= 1
            if self._host_count or structlog.get_config()["wrapper_class"] != self._wrapped:
                return  # the host has configured structlog anew meanwhile
            if self._was_configured:
                structlog.configure(**self._before)
            else:
                structlog.reset_defaults()

    def _made(self, *arguments: Any) -> Any:
        """The logger under a bound one: of `logging` for services, else what the host uses."""
        name = arguments[0] if arguments else None
        if isinstance(name, str) and name.startswith(_PREFIX):
            return logging.getLogger(name)
        return self._before["logger_factory"](*arguments)

    def _wrapped(self, logger: Any, *, processors: Any, context: Any) -> Any:
        name = getattr(logger, "name", None)
        if isinstance(logger, logging.Logger) and str(name).startswith(_PREFIX):
            return _BOUND(logger, processors=_PROCESSORS, context=context)
        return self._before["wrapper_class"](logger, processors=processors, context=context)


def _as_record(
    _logger: object, _method: str, event: _EventDict
) -> tuple[tuple[str], dict[str, Any]]:
    """What `logging` is called with: `segment.rolled service=broker partition=0 …`."""
    details = {key: event.pop(key) for key in ("exc_info", "stack_info") if key in event}
    name = event.pop("event", "")
    text = " ".join([str(name), *(f"{key}={value}" for key, value in event.items())])
    return (text,), details


_SILENCE: Final = logging.NullHandler()
_BOUND: Final[Callable[..., Any]] = structlog.make_filtering_bound_logger(logging.INFO)
_PROCESSORS: Final = (structlog.contextvars.merge_contextvars, _as_record)
_routing: Final = _Routing()
