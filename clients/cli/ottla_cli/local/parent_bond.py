"""What `ottla up` asks of the operating system: a high file limit, and the bond to a parent."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import Final

from ottla_cli.failures import CommandFailed

_PR_SET_PDEATHSIG: Final = 1

PARENT_DIED: Final = signal.SIGHUP
"""What the kernel sends when the parent dies; it may come once for each thread of the parent."""


def raise_open_files_limit() -> None:
    """Raise the limit to what is allowed; services inherit it, and refuse one that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def bind_life_to_parent(parent_process_id: int | None = None) -> None:
    """Have the kernel send `PARENT_DIED` to this process when its parent dies.

    Args:
        parent_process_id: the parent as it named itself; without, whoever is the parent now, which
            is somebody else's if it has died meanwhile.

    Raises:
        CommandFailed: the operating system has no such bond, or the parent has died already.
    """
    if sys.platform != "linux":
        raise CommandFailed("--die-with-parent needs Linux")
    parent = os.getppid() if parent_process_id is None else parent_process_id
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, PARENT_DIED, 0, 0, 0) != 0:
        raise CommandFailed(f"cannot bind to the parent: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        raise CommandFailed("the process that started this one has ended")
