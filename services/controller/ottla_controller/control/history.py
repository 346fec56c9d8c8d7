"""Forgetting revisions once they are older than the history that is kept.

Owns when and up to where the store is compacted; the active controller does it for all.
"""

from __future__ import annotations

import structlog

from ottla_controller.control.image import ClusterImage
from ottla_controller.setbacks import STORE_FAILURES
from ottla_controller.store.interface import CompactedError, MetadataStore
from ottla_runtime import fields
from ottla_runtime.clock import Clock

_logger = structlog.get_logger(__name__)


async def forget_history(
    store: MetadataStore, image: ClusterImage, *, clock: Clock, history_ms: int
) -> None:
    """Compacts now and then, until cancelled."""
    while True:
        revision = image.state.revision
        await clock.sleep_until(clock.monotonic_ms() + history_ms)
        try:
            await store.compact(revision)
        except CompactedError:
            continue
        except STORE_FAILURES as error:
            _logger.warning("metadata_store.compaction_failed", **{fields.ERROR: str(error)})
