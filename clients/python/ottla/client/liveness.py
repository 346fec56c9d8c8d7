"""Whether the two ends of a stream still hear each other.

    we are silent     ─► a heartbeat is due, the writer is woken
    broker is silent  ─► the stream is given up

Owns the times of both. Looks at flags now and then, because a time-out around every read and every
wait would cost more than the rest of handling a small message.
"""

from __future__ import annotations

import asyncio
from typing import Final, NoReturn

from ottla.client.rpc_errors import TransportFailed

HEARTBEAT_SECONDS: Final = 15.0
"""The longest this side says nothing."""
SILENCE_LOOKS_MAX: Final = 6
"""Looks, two in every heartbeat's time, in which a broker may say nothing: it beats as we do."""


class Liveness:
    """Of one stream, whose task group runs `watch`."""

    def __init__(self, wake_writer: asyncio.Event, *, stream: str) -> None:
        self._wake_writer = wake_writer
        self._stream = stream
        self._has_said = False
        self._silent_looks = 0
        self.owes_heartbeat = False
        """Nothing was said for so long that the writer has to say that it is there."""

    def heard(self) -> None:
        """Something came from the broker."""
        self._silent_looks = 0

    def said(self) -> None:
        """Something went to the broker."""
        self._has_said = True
        self.owes_heartbeat = False

    async def watch(self) -> NoReturn:
        """Keep watching.

        Raises:
            TransportFailed: the broker said nothing for 45 to 53 seconds.
        """
        while True:
            self._has_said = False
            await asyncio.sleep(HEARTBEAT_SECONDS / 2)
            if self._silent_looks >= SILENCE_LOOKS_MAX:
                raise TransportFailed(f"the broker fell silent on {self._stream}")
            self._silent_looks += 1
            if not self._has_said:
                self.owes_heartbeat = True
                self._wake_writer.set()
