"""Turns a sealed batch into its frame: on the loop where that is quick, else in a thread.

Owns that choice and the codec. A batch is encoded once, however often it is sent.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from ottla.client.core.outgoing_batch import OutgoingBatch
from ottla.protocol.compression import Codec
from ottla.protocol.records import RecordInput, encode_record_batch

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
            # Who gives the batch up meanwhile takes its records away: these are ours to encode.
            entries = batch.entries
            if self._codec is Codec.NONE or batch.size <= LOOP_COMPRESSED_SIZE_MAX:
                frame = self._encode(entries)
            else:
                frame = await self._encoded_beside(entries)
            if batch.outcome is not None:  # its time ran out meanwhile
                return frame
            batch.frame = frame
            batch.entries = []
        return batch.frame

    async def _encoded_beside(self, entries: Sequence[RecordInput]) -> bytearray:
        try:
            return await asyncio.to_thread(self._encode, entries)
        except RuntimeError:
            # The interpreter ends and starts no more threads; what was sent is still flushed.
            return self._encode(entries)

    def _encode(self, entries: Sequence[RecordInput]) -> bytearray:
        return encode_record_batch(entries, codec=self._codec, level=self._level)
