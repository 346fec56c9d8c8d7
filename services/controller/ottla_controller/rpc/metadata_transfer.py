"""Export and import of all metadata: streams of chunks around the core's records.

Owns the course of the two calls: chunks out, chunks in, one import at a time. The bytes and what is
written are the core's.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from ottla.api.admin.v1 import admin_pb2
from ottla.protocol.errors import Throttled
from ottla_controller.control.controller import (
    FEATURE_LEVEL,
    RECORD_FORMAT_VERSION,
    Controller,
)
from ottla_controller.core.export import exported_chunks, exported_records
from ottla_controller.core.import_stream import ImportRules, ImportStream
from ottla_controller.core.import_writing import import_metadata, refuse_while_importing

_RETRY_AFTER_MS: Final = 1_000
_PIECE_BYTES: Final = 65_536
"""Taken apart and checked at a time."""


class MetadataTransfer:
    """Serves ExportMetadata and ImportMetadata; called by the server's tasks."""

    def __init__(self, controller: Controller, *, cluster_partitions_max: int) -> None:
        identity = controller.identity
        self._controller = controller
        self._rules = ImportRules(
            format_version=RECORD_FORMAT_VERSION,
            feature_level=FEATURE_LEVEL,
            cluster_partitions_max=cluster_partitions_max,
            cluster_id=identity.cluster_id if identity.cluster_id_given else "",
        )
        self._is_importing = False

    async def exported(self) -> AsyncIterator[admin_pb2.ExportMetadataResponse]:
        """All metadata at one revision.

        Raises:
            MetadataStoreUnavailable: what is there belongs to an import that isn't finished.
        """
        refuse_while_importing(self._controller.image.state)
        for chunk in exported_chunks(exported_records(self._controller.image.state)):
            yield admin_pb2.ExportMetadataResponse(chunk=chunk)

    async def imported(
        self, requests: AsyncIterator[admin_pb2.ImportMetadataRequest]
    ) -> admin_pb2.ImportMetadataResponse:
        """Reads the stream to its end, and writes what it brought if that is whole.

        Raises:
            NotController: this controller is not the active one.
            Throttled: another import runs; each holds all of its records in memory.
            InvalidRequest, UnsupportedVersion: the stream or the cluster is not fit for it.
        """
        self._controller.term()
        if self._is_importing:
            raise Throttled("another import is under way", retry_after_ms=_RETRY_AFTER_MS)
        self._is_importing = True
        try:
            stream = ImportStream(self._rules)
            async for request in requests:
                for begin in range(0, len(request.chunk), _PIECE_BYTES):
                    stream.feed(request.chunk[begin : begin + _PIECE_BYTES])
                    # Others have their turn: a chunk takes a third of a second.
                    await asyncio.sleep(0)
            stream.finish()
            handler = partial(import_metadata, exported=stream.state)
            written = await self._controller.term().write(handler)
        finally:
            self._is_importing = False
        return admin_pb2.ImportMetadataResponse(
            record_count=stream.record_count,
            metadata_version=self._controller.image.version_at(written.revision),
        )
