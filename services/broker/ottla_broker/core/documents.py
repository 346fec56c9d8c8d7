"""Small files that say something about a directory: one JSON object that checks itself.

    {"kind": "partition", "format": 1, "crc32c": "9a71bb4c", "body": {
     "partition": 0,
     ...}}

People can read them, a line for each part, and a torn or edited one is told from a sound one. White
space behind it means nothing. Owns the envelope and the formats' version check; what a body means
belongs to whoever writes it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from crc32c import crc32c

from ottla.protocol.errors import UnsupportedVersion

Body = Mapping[str, Any]


class DamagedDocumentError(Exception):
    """A document cannot be read, or is not what its checksum says."""


def encode_document(kind: str, body: Body, *, version: int = 1) -> bytes:
    """The bytes of a document."""
    # json's own indentation is many times slower, and a body may tell of thousands of logs.
    lines = ",\n ".join(f"{json.dumps(key)}: {json.dumps(body[key])}" for key in sorted(body))
    head = f'{{"kind": {json.dumps(kind)}, "format": {version}, "crc32c": "{_crc(body)}", "body": '
    return f"{head}{{\n {lines}}}}}\n".encode()


def decode_document(kind: str, data: bytes, *, version_max: int = 1) -> dict[str, Any]:
    """The body of a document.

    Raises:
        DamagedDocumentError: it is no document of this kind, or its checksum is wrong.
        UnsupportedVersion: a newer release wrote it.
    """
    try:
        envelope = json.loads(data)
        found, version = envelope["kind"], envelope["format"]
        crc, body = envelope["crc32c"], envelope["body"]
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedDocumentError(f"unreadable: {error!r}") from None
    if found != kind or not isinstance(version, int) or not isinstance(body, dict):
        raise DamagedDocumentError(f"not a document of kind {kind}")
    if version > version_max:
        raise UnsupportedVersion(
            f"{kind} has format {version}; this release knows up to {version_max}: "
            "start a release at least as new as the one that wrote it"
        )
    if crc != _crc(body):
        raise DamagedDocumentError("wrong checksum")
    return body


def _crc(body: Body) -> str:
    canonical = json.dumps(body, sort_keys=True, separators=(",", ":"))
    return f"{crc32c(canonical.encode()):08x}"
