"""Who calls, and for whom a service speaks when it passes a call on.

Owns the metadata key that carries the principal of a forwarded call and the rule who may use it.
Until callers prove who they are, everybody is `ANONYMOUS`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from ottla.protocol.errors import InvalidRequest

FORWARDED_PRINCIPAL: Final = "ottla-forwarded-principal"
ANONYMOUS: Final = "User:ANONYMOUS"

_PRINCIPAL: Final = re.compile(r"[A-Za-z]{1,32}:[\x21-\x7e]{1,256}")


def principal_of(metadata: Iterable[tuple[str, Any]] | None, *, trusts_forwarded: bool) -> str:
    """The principal a call acts for.

    Args:
        metadata: what the call came with.
        trusts_forwarded: whether the caller may name another; if not, the key is ignored.

    Raises:
        InvalidRequest: the principal named is not `Kind:name`, or there are several.
    """
    if not trusts_forwarded:
        return ANONYMOUS
    named = [value for key, value in metadata or () if key == FORWARDED_PRINCIPAL]
    if not named:
        return ANONYMOUS
    principal = named[0]
    if len(named) > 1 or not isinstance(principal, str) or not _PRINCIPAL.fullmatch(principal):
        raise InvalidRequest(f"{FORWARDED_PRINCIPAL} has to be one principal, written Kind:name")
    return principal


def forwarding_metadata(principal: str) -> tuple[tuple[str, str], ...]:
    """The metadata to pass a call on with."""
    return ((FORWARDED_PRINCIPAL, principal),)
