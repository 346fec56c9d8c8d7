"""The settings of a consumer, checked: names, defaults, bounds and their description."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypedDict

from ottla.api.fetch.v1 import fetch_pb2
from ottla.client.calls import Patience
from ottla.client.core.positions import ResetPolicy, reset_policy
from ottla.client.setting_bounds import check_bounds, check_text
from ottla.protocol.errors import InvalidConfig

_ISOLATIONS: Final = {
    "read_committed": fetch_pb2.ISOLATION_READ_COMMITTED,
    "read_uncommitted": fetch_pb2.ISOLATION_READ_UNCOMMITTED,
}
_RACK_CHARS_MAX: Final = 249


class ConsumerOptions(TypedDict, total=False):
    """Keywords of a consumer; times in ms, sizes in bytes."""

    auto_offset_reset: str
    """Where to go on without a position the partition holds: "latest" (default), "earliest", or
    "error"."""
    isolation: str
    """"read_committed" (default) or "read_uncommitted"."""
    rack: str
    """Rack or zone of the client, for reads from near replicas."""
    fetch_buffer_bytes: int
    """What each broker may send ahead of the application, as it travels; 16 MiB."""
    fetch_message_bytes: int
    """Largest message, unless a batch alone is larger; 1 MiB."""
    decompressed_bytes_max: int
    """What one batch may decompress to; 64 MiB."""
    default_api_timeout_ms: int
    """How long topics and offsets are looked up, all retries included; 30,000."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSettings:
    """All of a consumer's options, with their defaults, checked."""

    auto_offset_reset: str = "latest"
    isolation: str = "read_committed"
    rack: str = ""
    fetch_buffer_bytes: int = 16 << 20
    fetch_message_bytes: int = 1 << 20
    decompressed_bytes_max: int = 64 << 20
    default_api_timeout_ms: int = 30_000

    def __post_init__(self) -> None:
        """Raises InvalidConfig for a value out of bounds."""
        check_bounds("fetch_buffer_bytes", self.fetch_buffer_bytes, 1 << 10, 1 << 38)
        check_bounds("fetch_message_bytes", self.fetch_message_bytes, 1 << 10, 1 << 20)
        check_bounds("decompressed_bytes_max", self.decompressed_bytes_max, 1 << 10, 1 << 31)
        check_bounds("default_api_timeout_ms", self.default_api_timeout_ms, 1, 2**31)
        check_text("rack", self.rack, _RACK_CHARS_MAX)
        _ = self.policy, self.wire_isolation

    @property
    def patience(self) -> Patience:
        """How long brokers are asked."""
        return Patience(call_ms=self.default_api_timeout_ms)

    @property
    def policy(self) -> ResetPolicy:
        """What to do without a position. Raises InvalidConfig."""
        return reset_policy(self.auto_offset_reset)

    @property
    def wire_isolation(self) -> fetch_pb2.Isolation.ValueType:
        """Which records sessions ask for. Raises InvalidConfig."""
        found = _ISOLATIONS.get(self.isolation)
        if found is None:
            names = ", ".join(_ISOLATIONS)
            raise InvalidConfig(f"isolation={self.isolation!r} must be one of {names}")
        return found
