"""The same error once more: to raise to another waiter, or with more details.

One failure is told to many, and an exception raised twice would grow one traceback for all.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType

from ottla.protocol.errors import OttlaError


def restated(
    error: OttlaError, *, message: str | None = None, details: Mapping[str, object] | None = None
) -> OttlaError:
    """A copy of the error, of the same class and reason.

    Args:
        error: what happened.
        message: replaces the text.
        details: added to the metadata, where the error doesn't name them itself.
    """
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    if message is not None:
        twin.message = message
        twin.args = (message,)
    if details:
        added = {key: str(value) for key, value in details.items()}
        twin.metadata = MappingProxyType(added | dict(error.metadata))
    return twin
