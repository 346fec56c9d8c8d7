"""Token buckets against clients that make work without moving anything.

Rapid reset, PING and SETTINGS floods, empty DATA, CONTINUATION chains: each has a bucket; an
empty one ends the connection with ENHANCE_YOUR_CALM and a reason stock clients print.
"""

from __future__ import annotations

from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.http2_limits import Http2Rates, Rate


class TokenBucket:
    """Counts down on `take`, refills with time up to its burst."""

    __slots__ = ("_burst", "_per_ms", "_reason", "_tokens", "_updated_ms")

    def __init__(self, rate: Rate, *, reason: str) -> None:
        self._burst = rate.burst
        self._per_ms = rate.per_second / 1000
        self._tokens: float = rate.burst
        self._reason = reason
        self._updated_ms: int | None = None

    def take(self, now_ms: int) -> None:
        """Use one token.

        Raises:
            ConnectionFault: none is left.
        """
        if self._updated_ms is not None and now_ms > self._updated_ms:
            refilled = self._tokens + (now_ms - self._updated_ms) * self._per_ms
            self._tokens = min(self._burst, refilled)
        self._updated_ms = now_ms
        if self._tokens < 1:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, self._reason)
        self._tokens -= 1

    def give(self, count: int) -> None:
        """Return tokens that the peer has earned."""
        self._tokens = min(self._burst, self._tokens + count)


class RateLimits:
    """The buckets of one connection."""

    __slots__ = (
        "continuations",
        "empty_data",
        "ignored",
        "pings",
        "refusals",
        "resets",
        "settings",
    )

    def __init__(self, rates: Http2Rates) -> None:
        self.resets = TokenBucket(rates.resets, reason="too_many_resets")
        # The reason gRPC clients know: they double their keepalive interval on it.
        self.pings = TokenBucket(rates.pings, reason="too_many_pings")
        self.settings = TokenBucket(rates.settings, reason="too_many_settings")
        self.empty_data = TokenBucket(rates.empty_data, reason="too_many_empty_data_frames")
        self.continuations = TokenBucket(rates.continuations, reason="too_many_continuations")
        self.refusals = TokenBucket(rates.refusals, reason="too_many_refused_streams")
        self.ignored = TokenBucket(rates.ignored, reason="too_many_frames_without_effect")
