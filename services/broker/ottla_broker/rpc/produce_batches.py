"""A request's batches, made ready to be appended as they are.

    canonical ────────────────────────► looked into            ┐
    canonical, compressed ────────────► opened and looked into │ beside the event loop,
    canonical, in another codec ──────► the same, then made    │ but for small ones
    another writer's encoding ────────► checked, canonical     ┘

Owns telling these apart. Appends are ordered because nothing is left to do, and so to wait for,
once a partition is handed what comes out of here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from ottla.protocol.batch import Batch, read_batch
from ottla.protocol.canonical import canonical
from ottla.protocol.errors import CorruptBatch, InvalidRequest, UnsupportedVersion
from ottla.protocol.records import RecordLimits, check_records
from ottla_broker.core.append_checks import check_batch
from ottla_broker.core.log_config import LogConfig
from ottla_broker.core.recompression import EXPANSION_MAX, needs_recompression, recompress
from ottla_broker.rpc.payload_checks import check_payload, is_checked_at_once, is_compressed
from ottla_broker.storage.ports import Offload

FOREIGN_RECORDS_MAX: Final = 1_000_000


async def ready_batches(
    frames: Sequence[memoryview], config: LogConfig, *, offload: Offload, now_ms: int
) -> Sequence[Batch]:
    """The batches, canonical and in the topic's codec.

    Raises:
        CorruptBatch, RecordTooLarge, InvalidRequest, UnsupportedVersion: one is not to be had so.
    """
    batches = [_read(frame) for frame in frames]
    if any(batch is None for batch in batches):
        batches = list(await offload.run(lambda: [_converted(frame, config) for frame in frames]))
    found = [batch for batch in batches if batch is not None]
    for batch in found:
        if batch.header.producer_id:
            raise UnsupportedVersion("producer identities are not known to this server")
    if any(is_compressed(batch) or needs_recompression(batch, config) for batch in found):
        _check_all(found, config, now_ms)  # nothing is decompressed whose checksum doesn't hold
    try:
        if all(_is_ready_at_once(batch, config) for batch in found):
            return found
        return await offload.run(lambda: [_opened(batch, config) for batch in found])
    except CorruptBatch:
        _check_all(found, config, now_ms)  # damaged on its way, it has the more telling error
        raise


def _check_all(batches: Sequence[Batch], config: LogConfig, now_ms: int) -> None:
    for batch in batches:
        check_batch(batch, config, now_ms=now_ms)


def _is_ready_at_once(batch: Batch, config: LogConfig) -> bool:
    return not needs_recompression(batch, config) and is_checked_at_once(batch, config)


def _opened(batch: Batch, config: LogConfig) -> Batch:
    check_payload(batch, config)
    return recompress(batch, config)


def _read(frame: memoryview) -> Batch | None:
    """A canonical frame as a batch; None for any other encoding."""
    try:
        batch = read_batch(frame)
    except CorruptBatch:
        return None
    return batch if batch.frame_size == len(frame) else None


def _converted(frame: memoryview, config: LogConfig) -> Batch:
    """What another writer encoded, canonical; its records are looked at once, here."""
    batch = _read(frame)
    if batch is not None:
        return batch
    converted = read_batch(canonical(_message(frame)))
    if converted.header.is_control or converted.header.is_transactional:
        raise InvalidRequest("control and transactional batches need a transaction")
    limits = RecordLimits(
        payload_size_max=config.max_message_bytes * EXPANSION_MAX,
        record_count_max=FOREIGN_RECORDS_MAX,
    )
    check_records(converted.payload, converted.header, limits)
    return converted


def _message(frame: memoryview) -> memoryview:
    """The encoded batch inside its frame, whose length may be written in any way."""
    position = 1
    while frame[position] & 0x80:
        position += 1
    return frame[position + 1 :]
