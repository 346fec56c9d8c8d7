"""How a service says that it cannot start or go on.

Owns the exceptions that end a process with exit code 1 and one line for people. Errors of calls
are `ottla.protocol.errors`.
"""

from __future__ import annotations

import errno
import os
import socket


class StartError(Exception):
    """The service cannot start; the message says in one line why and what to do."""


class TaskFailedError(Exception):
    """A supervised task died, which takes its service down. `__cause__` is what it died of."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(f"task {name} failed: {message}")
        self.name = name


def listen_failed(host: str, port: int, error: OSError) -> StartError:
    """What to tell somebody whose service could not listen on `host:port`."""
    shown = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if isinstance(error, socket.gaierror):  # whose numbers are not those of other errors
        return StartError(f"cannot listen on {shown}: {error.strerror}")
    if error.errno == errno.EADDRINUSE:
        return StartError(
            f"cannot listen on {shown}: the port is in use; stop what uses it or choose another"
            " port (0 takes any free one)"
        )
    if error.errno == errno.EADDRNOTAVAIL:
        return StartError(f"cannot listen on {shown}: this machine has no such address")
    if error.errno in {errno.EACCES, errno.EPERM}:
        return StartError(f"cannot listen on {shown}: not permitted; ports below 1024 need root")
    reason = os.strerror(error.errno) if error.errno else str(error)
    return StartError(f"cannot listen on {shown}: {reason}")
