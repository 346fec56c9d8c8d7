"""Ports for services that tests start, end and start again."""

from __future__ import annotations

import os
import random
import socket
from itertools import cycle
from typing import Final

# Below what the kernel gives to connections going out, so that nobody takes one during a restart;
# every worker of pytest has a stripe of its own, and uses no port twice before all others.
_STRIPES: Final = 8
_STRIPE: Final = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _STRIPES
_PORTS: Final = range(20_000 + _STRIPE, 32_000, _STRIPES)
_turns: Final = cycle(random.sample(_PORTS, len(_PORTS)))


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    for port in _turns:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise AssertionError("the ports come round for ever")
