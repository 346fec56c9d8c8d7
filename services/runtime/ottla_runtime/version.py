"""Which release runs."""

from __future__ import annotations

from functools import cache
from importlib import metadata

_DISTRIBUTION = "ottla"


@cache
def server_version() -> str:
    """The release, such as `0.1.0`; `unknown` where the package is used without being installed."""
    try:
        return metadata.version(_DISTRIBUTION)
    except metadata.PackageNotFoundError:
        return "unknown"
