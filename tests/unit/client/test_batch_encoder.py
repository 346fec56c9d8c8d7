"""Batches become frames on the loop or beside it; who gives one up meanwhile is in nobody's way."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from ottla.client.batch_encoder import LOOP_COMPRESSED_SIZE_MAX, BatchEncoder
from ottla.protocol.batch import read_batch
from ottla.protocol.compression import Codec
from ottla.protocol.errors import OutcomeUnknown
from ottla.protocol.records import read_records
from unit.client.producing import batch


async def test_a_batch_given_up_while_it_waits_for_a_thread_is_encoded_all_the_same() -> None:
    late = batch(1, size=LOOP_COMPRESSED_SIZE_MAX + 1)
    is_free = threading.Event()
    loop = asyncio.get_running_loop()
    loop.set_default_executor(ThreadPoolExecutor(1))
    busy = loop.run_in_executor(None, is_free.wait)  # as an application may keep all threads
    async with asyncio.TaskGroup() as group:
        encoding = group.create_task(
            BatchEncoder(Codec.ZSTD, level=None).frame(late), name="encoding"
        )
        await asyncio.sleep(0)
        late.complete(OutcomeUnknown("no acknowledgement within the delivery time-out"))
        is_free.set()
    await busy
    await loop.shutdown_default_executor()
    records = list(read_records(read_batch(encoding.result()), size_max=1_000))
    assert [record.value for record in records] == [b"1"]
    assert (late.frame, late.entries) == (None, [])
