"""What a test cluster fails with."""

from __future__ import annotations

from ottla.protocol.errors import OttlaError


class ClusterError(OttlaError):
    """A service of the cluster didn't start, didn't stop in time, or ended by itself."""
