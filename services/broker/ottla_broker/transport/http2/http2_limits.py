"""What the HTTP/2 core takes from one client, as one frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rate:
    """A token bucket: `burst` at once, `per_second` refilled."""

    burst: int
    per_second: float


@dataclass(frozen=True, slots=True)
class Http2Rates:
    """How often a client may send what costs us work and moves nothing.

    Resets follow nghttp2's answer to "rapid reset". Pings are generous, because stock clients
    measure bandwidth with them; every frame of ours that carries content earns one more.
    """

    resets: Rate = Rate(burst=1_500, per_second=50)
    pings: Rate = Rate(burst=1_000, per_second=20)
    settings: Rate = Rate(burst=200, per_second=10)
    empty_data: Rate = Rate(burst=1_000, per_second=20)
    continuations: Rate = Rate(burst=200, per_second=50)
    refusals: Rate = Rate(burst=12_000, per_second=200)
    # Everything else that has no effect: PRIORITY, unknown frames, frames on closed streams.
    ignored: Rate = Rate(burst=20_000, per_second=2_000)


@dataclass(frozen=True, slots=True)
class Http2Limits:
    """Bounds of one connection; sizes in bytes. What a peer may know is advertised in SETTINGS."""

    concurrent_streams_max: int = 1_000
    # A batch of 1 MiB and its prefix fit one frame.
    frame_size_max: int = (1 << 20) + (1 << 14)
    stream_window: int = 4 << 20
    connection_window: int = 16 << 20
    # A list above the first is refused alone; above the second, the connection ends.
    header_list_size_max: int = 16_384
    header_list_size_hard_max: int = 65_536
    header_block_size_max: int = 65_536
    header_table_size: int = 4_096
    continuation_frames_max: int = 32
    # Acknowledgements and resets waiting for a client that does not read.
    unread_control_frames_max: int = 20_000
    unread_acks_max: int = 2_000
    closed_streams_remembered: int = 2_000
    rates: Http2Rates = field(default_factory=Http2Rates)
