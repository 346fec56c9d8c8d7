"""What a service asks of the operating system before it starts.

Owns the limit of open files, what becomes of freed memory, and the bond to a parent process. Linux
alone has the bond; elsewhere a service asked for it refuses to start rather than outlive its parent
unnoticed.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
from typing import Final

from ottla_runtime.failures import StartError

_PR_SET_PDEATHSIG: Final = 1
_M_TRIM_THRESHOLD: Final = -1
_M_MMAP_THRESHOLD: Final = -3
KEPT_BLOCK_SIZE_MAX: Final = 8 << 20
"""Above any message; larger blocks go back to the system at once, as they come by themselves."""
KEPT_SIZE_MAX: Final = 64 << 20

PARENT_DIED: Final = signal.SIGHUP
"""What the kernel sends when the parent dies. It may come twice, once for each thread of the parent
that passes its children on, so it must not be a signal whose repetition means impatience."""


def raise_open_files_limit(files_min: int) -> int:
    """Raise the process's limit of open files to its hard limit, and see that it is enough.

    Args:
        files_min: open files the process needs at the least.

    Returns:
        The limit as it is now.

    Raises:
        StartError: the hard limit is lower than `files_min`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = hard if hard != resource.RLIM_INFINITY else max(soft, files_min)
    if wanted < files_min:
        raise StartError(
            f"the limit of open files is {hard}, and {files_min} are needed; raise it"
            f" (ulimit -n {files_min}, LimitNOFILE=) or lower open.files.min"
        )
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted


def keep_freed_memory() -> bool:
    """Keep memory that is freed for the next message, up to `KEPT_SIZE_MAX`.

    glibc gives memory back to the system as soon as a few large messages of it are free, and the
    kernel clears each page again for the next ones, which costs more than all else that is done
    with them.

    Returns:
        Whether it is so now; False where the C library has no such choice.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    # 1 is success; each switches glibc's own guess about both off.
    return bool(
        mallopt(_M_MMAP_THRESHOLD, KEPT_BLOCK_SIZE_MAX)
        and mallopt(_M_TRIM_THRESHOLD, KEPT_SIZE_MAX)
    )


def bind_life_to_parent(parent_process_id: int | None = None) -> None:
    """Have the kernel send `PARENT_DIED` to this process when its parent dies.

    Args:
        parent_process_id: the parent as it named itself. A parent that died before this process
            looked has left no trace, so only one who knows the name can tell that it is gone.

    Raises:
        StartError: the operating system has no such bond, or the parent has died already.
    """
    if sys.platform != "linux":
        raise StartError("die.with.parent needs Linux; start the service without it")
    parent = os.getppid() if parent_process_id is None else parent_process_id
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, PARENT_DIED, 0, 0, 0) != 0:
        raise StartError(f"cannot bind to the parent: {os.strerror(ctypes.get_errno())}")
    # It may have died before the bond held; the kernel tells nobody then.
    if os.getppid() != parent:
        raise StartError("the process that started this one has ended")
