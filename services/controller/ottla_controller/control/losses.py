"""What shows that the store has lost something that others have seen.

Owns the evidence that comes from outside of the store: positions that followers of the metadata
name, and what other controllers have found out and say in their records. What follows from it is
the active controller's.
"""

from __future__ import annotations

from contextlib import suppress

from ottla.storage.metadata.v1.metadata_record_pb2 import ClusterRecord
from ottla_controller.control.image import ClusterImage
from ottla_controller.core.generations import Position, StoreFacts, has_lost
from ottla_controller.core.record_keys import CLUSTER_KEY
from ottla_controller.setbacks import STORE_FAILURES
from ottla_controller.store.interface import MetadataStore


class Losses:
    """Belongs to one `Controller`."""

    def __init__(self, store: MetadataStore, image: ClusterImage) -> None:
        self._store = store
        self._image = image

    async def look_into(self, seen: Position) -> None:
        """Somebody has seen this; where the store does not lead up to it, the image notes that.

        A store that does not answer proves nothing.
        """
        state = self._image.state
        if seen <= (state.cluster.generation, state.revision):
            return
        with suppress(*STORE_FAILURES):
            # From the store itself: this image may be behind the active controller's.
            page = await self._store.read(CLUSTER_KEY, limit=1)
            facts = StoreFacts(self._store.store_id, page.revision)
            records = [ClusterRecord.FromString(item.value) for item in page.items]
            if records and has_lost(records[0], facts, seen):
                self._image.note_lost(seen)

    def are_known(self) -> bool:
        """Whether something of the present generation is lost, as any controller knows."""
        state = self._image.state
        told = max((each.lost_generation for each in state.controllers.values()), default=0)
        if told >= state.cluster.generation > 0:
            self._image.note_lost(Position(told, 0))
        return self._image.has_lost(state)
