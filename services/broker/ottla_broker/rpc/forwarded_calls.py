"""How one broker passes a call on to another: marked, with the version of metadata it acted on.

Owns two metadata keys. A call marked as forwarded is never forwarded again: two brokers with
different views would otherwise hand it back and forth. The version lets the leader wait for the
metadata that made the other broker send the call here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from ottla.protocol.errors import InvalidRequest
from ottla.protocol.ids import NodeId
from ottla_broker.metadata.views import ClusterVersion
from ottla_runtime.interceptors.principal import forwarding_metadata

FORWARDED_BY: Final = "ottla-forwarded-by"
MIN_VERSION: Final = "ottla-min-version"

_VERSION: Final = re.compile(r"([0-9]{1,19})\.([0-9]{1,19})")


@dataclass(frozen=True, slots=True)
class Forwarded:
    """What a call says of having been passed on."""

    by_broker: bool
    min_version: ClusterVersion | None

    @classmethod
    def of(cls, metadata: Iterable[tuple[str, Any]] | None) -> Forwarded:
        """Read it from the metadata a call came with.

        Raises:
            InvalidRequest: a key of ours has a value that isn't ours.
        """
        by_broker, min_version = False, None
        for key, value in metadata or ():
            if key == FORWARDED_BY:
                by_broker = True
            elif key == MIN_VERSION:
                match = _VERSION.fullmatch(value) if isinstance(value, str) else None
                if match is None:
                    raise InvalidRequest(f"{MIN_VERSION} has to be generation.revision")
                min_version = ClusterVersion(int(match[1]), int(match[2]))
        return cls(by_broker, min_version)


def forwarded_metadata(
    *, node_id: NodeId, version: ClusterVersion, principal: str
) -> tuple[tuple[str, str], ...]:
    """The metadata to pass a call on with."""
    return (
        (FORWARDED_BY, str(node_id)),
        (MIN_VERSION, f"{version.generation}.{version.revision}"),
        *forwarding_metadata(principal),
    )
