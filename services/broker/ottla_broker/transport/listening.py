"""The listener as the server starts it: by the event loop's own clock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.listener import Listener
from ottla_broker.transport.stream import GrpcStream


class LoopClock:
    """The event loop's own time, which also runs the timers of deadlines."""

    def __init__(self) -> None:
        self._time = asyncio.get_running_loop().time

    def monotonic_ms(self) -> int:
        """Milliseconds of the loop's clock."""
        return int(self._time() * 1000)


def listen(on_stream: Callable[[GrpcStream], None], limits: TransportLimits) -> Listener:
    """A listener for the running loop."""
    return Listener(on_stream, limits, clock=LoopClock())
