"""A timer of the kernel that an event loop can wait for, exact to some microseconds.

Python has it from 3.13 on (`os.timerfd_create`); until that is the oldest supported, through the C
library. See timerfd_create(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from types import TracebackType
from typing import Self

_ABSOLUTE = 1
_NANOSECONDS = 1_000_000_000
_libc = ctypes.CDLL(None, use_errno=True)


class _Spec(ctypes.Structure):
    """`struct itimerspec`: interval and time, each seconds and nanoseconds."""

    _fields_ = (("interval", ctypes.c_long * 2), ("value", ctypes.c_long * 2))


class KernelTimer:
    """Readable once the time it was told has come."""

    def __init__(self) -> None:
        self._descriptor: int = _libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        if self._descriptor < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        os.close(self._descriptor)

    def fileno(self) -> int:
        """The descriptor to wait on."""
        return self._descriptor

    def ring_at(self, monotonic_ns: int) -> None:
        """Become readable at this time of the monotonic clock."""
        spec = _Spec((0, 0), divmod(monotonic_ns, _NANOSECONDS))
        if _libc.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(spec), None):
            raise OSError(ctypes.get_errno(), "timerfd_settime")

    def acknowledge(self) -> None:
        """Stop being readable."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._descriptor, 8)
