"""How far a broker had come in its cluster, for its next life: broker epoch and metadata version.

Owns the document `cluster-position`. What a broker knew proves, when the metadata turns out to be
behind it, that the metadata was restored from a backup; without it a broker that starts with such
metadata would believe that topics made since were deleted.
"""

from __future__ import annotations

from dataclasses import dataclass

from ottla_broker.core.documents import DamagedDocumentError, decode_document, encode_document

FIRST_GENERATION = 1
"""Of metadata that was never restored from a backup."""
_KIND = "cluster-position"
_KEYS = ("broker_epoch", "generation", "revision")


@dataclass(frozen=True, slots=True)
class ClusterPosition:
    """The highest broker epoch had, and the latest version (generation, revision) acted on."""

    broker_epoch: int = 0
    version: tuple[int, int] = (0, 0)

    def merged(self, other: ClusterPosition) -> ClusterPosition:
        """The later of each."""
        return ClusterPosition(
            max(self.broker_epoch, other.broker_epoch), max(self.version, other.version)
        )


def encode_position(position: ClusterPosition) -> bytes:
    """The document of a position."""
    generation, revision = position.version
    values = (position.broker_epoch, generation, revision)
    return encode_document(_KIND, dict(zip(_KEYS, values, strict=True)))


def decode_position(data: bytes) -> ClusterPosition:
    """What the document says. Raises DamagedDocumentError, UnsupportedVersion."""
    body = decode_document(_KIND, data)
    values = [body.get(key) for key in _KEYS]
    if not all(type(value) is int and value >= 0 for value in values):
        raise DamagedDocumentError(f"no position is {body!r}")
    broker_epoch, generation, revision = values
    return ClusterPosition(int(broker_epoch or 0), (int(generation or 0), int(revision or 0)))
