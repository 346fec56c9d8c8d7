"""Turns a sealed batch into its frame: on the loop where that is quick, else in a thread.

Owns that choice and the codec. A batch is encoded once, however often it is sent.
"""

from __future__ import annotations

import asyncio
from typing import Final

from ottla.client.core.outgoing_batch import OutgoingBatch
from ottla.protocol.compression import Codec
from ottla.protocol.records import encode_record_batch

LOOP_COMPRESSED_SIZE_MAX: Final = 16 << 10
"""Up to this size compressing takes less than handing it to a thread."""


class BatchEncoder:
    """Used by the tasks that send."""

    def __init__(self, codec: Codec, *, level: int | None) -> None:
        self._codec = codec
        self._level = level

    async def frame(self, batch: OutgoingBatch) -> bytes | bytearray:
        """The batch's frame; its records are let go of."""
        if batch.frame is None:
            if self._codec is Codec.NONE or batch.size <= LOOP_COMPRESSED_SIZE_MAX:
                frame = self._encode(batch)
            else:
                frame = await self._encoded_beside(batch)
            if batch.outcome is not None:  # its time ran out meanwhile
                return frame
            batch.frame = frame
            batch.entries = []
        return batch.frame

    async def _encoded_beside(self, batch: OutgoingBatch) -> bytearray:
        try:
            return await asyncio.to_thread(self._encode, batch)
        except RuntimeError:
            # The interpreter ends and starts no more threads; what was sent is still flushed.
            return self._encode(batch)

    def _encode(self, batch: OutgoingBatch) -> bytearray:
        return encode_record_batch(batch.entries, codec=self._codec, level=self._level)
