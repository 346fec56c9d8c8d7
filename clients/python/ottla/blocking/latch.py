"""Waiting that Ctrl-C always ends.

`threading.Event` is no good for it: interrupted at the wrong moment, its wait loses its lock and
raises RuntimeError; and a signal that comes after Python looked for signals, but before the thread
sleeps, doesn't wake it.
"""

from __future__ import annotations

import threading
from typing import Final

_LOOK_SECONDS: Final = 1.0
"""How long a signal that came a moment too early may be overlooked."""


class Latch:
    """Closed at first, opened once; one thread waits, any number of times."""

    def __init__(self) -> None:
        self.is_open = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def open(self) -> None:
        """Let the waiting thread go; again: nothing."""
        if not self.is_open:
            self.is_open = True
            self._gate.release()

    def wait(self) -> None:
        """Return when it is open. Raises what a signal's handler raises, in the main thread."""
        # Whoever is interrupted after passing the gate finds it open by the flag, not by the lock.
        while not self.is_open and not self._gate.acquire(timeout=_LOOK_SECONDS):
            pass
