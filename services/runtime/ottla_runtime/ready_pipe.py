"""What a service tells the process that started it, on the pipe it inherited for that.

Owns the pipe's end here: JSON lines, any number of `{"waiting": why}` while the service waits for
something before it can serve, then `{"node_id": …, "port": …, "health_port": …}` once it serves or
`{"failed": why}` if it never will, and the pipe's end. It works where the log doesn't: on a full
disk.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from typing import Final

# JSON makes six bytes of a character at most: a line reaches a pipe whole or not at all.
_REASON_CHARACTERS_MAX: Final = 600


class ReadyPipe:
    """Opened before anything can fail, closed with the word that the service serves or won't."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        self._waits_for = ""
        if descriptor is not None:
            with contextlib.suppress(OSError):  # no descriptor of ours: told when written to
                os.set_blocking(descriptor, False)  # a starter that never reads holds nobody up

    def waiting(self, why: str) -> None:
        """Say what the service waits for; saying it again is for nothing."""
        if why == self._waits_for:
            return
        self._waits_for = why
        with contextlib.suppress(OSError):
            self._write({"waiting": _shortened(why)})

    def ready(self, line: Mapping[str, int]) -> None:
        """Say that the service serves, and where. Raises OSError: nobody is there to hear it."""
        try:
            self._write(line)
        finally:
            self._close()

    def failed(self, why: str) -> None:
        """Say that the service won't serve; nothing happens if it did already."""
        with contextlib.suppress(OSError):
            self._write({"failed": _shortened(why)})
        self._close()

    def _write(self, line: Mapping[str, object]) -> None:
        if self._descriptor is not None:
            os.write(self._descriptor, json.dumps(line).encode() + b"\n")

    def _close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)


def _shortened(why: str) -> str:
    line = " ".join(why.split())
    return line if len(line) <= _REASON_CHARACTERS_MAX else line[: _REASON_CHARACTERS_MAX - 1] + "…"
