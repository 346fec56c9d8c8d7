"""A port of 127.0.0.1 that stays ours between two lives of a service.

Owns holding it. Linux lets a listener stand on the port of a socket that is bound and doesn't
listen, and gives such a port to nobody who asks for any. Elsewhere the port is known and not held.
"""

from __future__ import annotations

import socket
import sys
from typing import Final

HOST: Final = "127.0.0.1"


class ReservedPort:
    """Drawn when made, held until closed."""

    def __init__(self) -> None:
        self._held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            self._held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._held.bind((HOST, 0))
            self.number: int = self._held.getsockname()[1]
        except OSError:
            self._held.close()
            raise
        if sys.platform != "linux":
            self._held.close()

    def close(self) -> None:
        """Let go of it; again: nothing."""
        self._held.close()
