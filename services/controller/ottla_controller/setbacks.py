"""What holds a controller back, logged when it changes.

Owns which failures were told already. A store that stays away is asked again and again; a line for
every try would fill the disk whose being full may be the trouble.
"""

from __future__ import annotations

from typing import Final

import structlog

from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotAuthenticated,
    NotAuthorized,
    OutcomeUnknown,
)
from ottla_runtime import fields

STORE_FAILURES: Final = (
    MetadataStoreUnavailable,
    OutcomeUnknown,
    NotAuthenticated,
    NotAuthorized,
)
"""What a store may fail with for a while: it comes back, or somebody puts its credentials right."""

_logger = structlog.get_logger(__name__)


class Setbacks:
    """The latest failure of each kind. Used by one task, or by tasks of one event loop."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def met(self, event: str, error: str) -> None:
        """Log the failure, unless it is the one that was logged last for `event`."""
        if self._told.get(event) != error:
            self._told[event] = error
            _logger.warning(event, **{fields.ERROR: error})

    def over(self, *events: str) -> None:
        """What failed works again, all of it if none is named: its next failure is news."""
        for event in events or tuple(self._told):
            self._told.pop(event, None)
