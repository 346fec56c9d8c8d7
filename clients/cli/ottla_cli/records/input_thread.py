"""Reading a file or standard input without stopping the event loop.

Owns one daemon thread that reads chunks and hands them over one by one: it reads ahead by a single
chunk, so a slow cluster holds the input back. A daemon, because a read from a terminal cannot be
interrupted and must not keep the command from ending.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator
from typing import Final

_CHUNK_BYTES: Final = 256 * 1024


class InputThread:
    """Chunks of a file descriptor; used by one task."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._wanted = threading.Semaphore(1)
        self._chunks: asyncio.Queue[bytes | OSError] = asyncio.Queue()
        self._stopped = False

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """Chunks as they come, until the end of the input.

        Raises:
            OSError: reading failed.
        """
        thread = threading.Thread(target=self._read, name="ottla-input", daemon=True)
        thread.start()
        try:
            while True:
                chunk = await self._chunks.get()
                if isinstance(chunk, OSError):
                    raise chunk
                if not chunk:
                    return
                self._wanted.release()
                yield chunk
        finally:
            self._stopped = True
            self._wanted.release()

    def _read(self) -> None:
        while True:
            self._wanted.acquire()
            if self._stopped:
                return
            chunk: bytes | OSError
            try:
                chunk = os.read(self._descriptor, _CHUNK_BYTES)
            except OSError as error:
                chunk = error
            try:
                self._loop.call_soon_threadsafe(self._chunks.put_nowait, chunk)
            except RuntimeError:
                return  # the loop is closed: the command ended while we read
            if isinstance(chunk, OSError) or not chunk:
                return
