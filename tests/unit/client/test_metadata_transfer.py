"""Metadata on its way into a cluster."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.client.metadata_transfer import CHUNK_BYTES_MAX, MetadataImport
from ottla.protocol.errors import InvalidRequest


class WrittenCall:
    """Takes requests."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    async def write(self, request: Any) -> None:
        self.sizes.append(len(request.chunk))


async def test_chunks_are_cut_to_what_a_request_holds() -> None:
    call = WrittenCall()
    await MetadataImport(call).write(bytes(CHUNK_BYTES_MAX + 1))
    assert call.sizes == [CHUNK_BYTES_MAX, 1]


@pytest.mark.parametrize("chunk", [79, "a", None])
async def test_whoever_gives_bytes_in_place_of_chunks_is_told(chunk: Any) -> None:
    call = WrittenCall()
    with pytest.raises(InvalidRequest, match="several chunks of bytes"):
        await MetadataImport(call).write(chunk)
    assert not call.sizes
