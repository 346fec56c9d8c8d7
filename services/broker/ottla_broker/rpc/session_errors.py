"""Errors of streams that several tasks serve: which one the client is told, and of what.

Owns picking the one planned error out of a group, and naming the partition in errors that come
from places that don't know it.
"""

from __future__ import annotations

import copy
from types import MappingProxyType
from typing import NoReturn

import grpc

from ottla.protocol.errors import OttlaError


def raise_expected(failures: BaseExceptionGroup[BaseException]) -> NoReturn:
    """Raise the planned error in a group, or the group itself where something else is in it.

    The end of the call by its transport counts as planned: the client was told already.
    """
    ended = failures.split(grpc.aio.AbortError)[0]
    planned, rest = (ended, None) if ended else failures.split(OttlaError)
    if planned is None or rest is not None:
        raise failures
    error: BaseException = planned
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    raise error from failures


def restated(error: OttlaError, **names: object) -> OttlaError:
    """A copy of the error with `names` in its details, where it has none of its own."""
    twin = copy.copy(error)
    added = {key: str(value) for key, value in names.items()}
    twin.metadata = MappingProxyType(added | dict(error.metadata))
    return twin
