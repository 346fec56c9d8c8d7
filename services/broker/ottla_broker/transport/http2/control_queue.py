"""Control frames waiting to be written, bounded: what a client that does not read makes pile up.

Window updates are kept as sums, not as frames, so they need no bound of their own; everything
else is counted until the next time the output is taken.
"""

from __future__ import annotations

from ottla_broker.transport.http2.errors import ConnectionFault, ErrorCode
from ottla_broker.transport.http2.frames import window_update_frame
from ottla_broker.transport.http2.http2_limits import Http2Limits
from ottla_broker.transport.stream import Part


class ControlQueue:
    """Owns the queued control frames; `closed` once GOAWAY for a fault is among them."""

    __slots__ = ("_acks", "_acks_max", "_credits", "_frames", "_frames_max", "closed")

    def __init__(self, limits: Http2Limits) -> None:
        self._frames: list[bytes] = []
        self._credits: dict[int, int] = {}
        self._acks = 0
        self._acks_max = limits.unread_acks_max
        self._frames_max = limits.unread_control_frames_max
        self.closed = False

    def put(self, frame: bytes) -> None:
        if not self.closed:
            self._frames.append(frame)

    def put_first(self, frame: bytes) -> None:
        """Before everything else: our SETTINGS open the connection."""
        self._frames.insert(0, frame)

    def put_ack(self, frame: bytes) -> None:
        """Queue an answer the client can provoke at will."""
        self._acks += 1
        self.put(frame)

    def put_credit(self, stream_id: int, increment: int) -> None:
        """Owe a WINDOW_UPDATE; stream 0 is the connection."""
        self._credits[stream_id] = self._credits.get(stream_id, 0) + increment

    def forget_credit(self, stream_id: int) -> None:
        """A closed stream needs no update."""
        self._credits.pop(stream_id, None)

    def check_backlog(self) -> None:
        """Refuse a client that makes us answer and does not read the answers.

        Raises:
            ConnectionFault: too many frames wait.
        """
        if self._acks > self._acks_max or len(self._frames) > self._frames_max:
            raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, "too_many_unread_answers")

    def take(self, output: list[Part]) -> None:
        """Move everything queued to `output`."""
        if self._credits and not self.closed:
            self._frames.extend(
                window_update_frame(stream_id, increment)
                for stream_id, increment in self._credits.items()
            )
            self._credits.clear()
        if self._frames:
            output.append(b"".join(self._frames))
            self._frames.clear()
            self._acks = 0
