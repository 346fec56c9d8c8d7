"""Segments as other programs see them, and a file system that is really full."""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from integration.storage.writer import lead, opened

from kit.batches import make_batch
from kit.storage import values_of
from ottla.api.record.v1 import record_pb2
from ottla.protocol.errors import StorageFull
from ottla_broker.core.append_checks import Acks

ROOT = Path(__file__).parents[3]
SEGMENT = "topic-0/00000000000000000000.log"


async def write_segment(directory: Path) -> None:
    async with opened(directory) as table:
        partition = await lead(table)
        await partition.append([make_batch(b"first", b"second"), make_batch(b"x")], acks=Acks.ALL)
        await partition.append([make_batch(b"y" * 7_000)], acks=Acks.ALL)
        await table.close(broker_epoch=1)


def test_segment_decodes_with_plain_protoc(tmp_path: Path) -> None:
    asyncio.run(write_segment(tmp_path / "logs"))
    data = (tmp_path / "logs" / SEGMENT).read_bytes()
    decoded = subprocess.run(
        [
            sys.executable,
            "-m",
            "grpc_tools.protoc",
            f"-I{ROOT / 'proto'}",
            "--decode=ottla.api.record.v1.LogSegment",
            "ottla/api/record/v1/record.proto",
        ],
        input=data,
        capture_output=True,
        check=True,
    )
    text = decoded.stdout.decode()
    assert decoded.stderr == b""
    assert text.count("batches {") == 3
    assert [line.strip() for line in text.splitlines() if "base_offset" in line] == [
        "base_offset: 0",
        "base_offset: 2",
        "base_offset: 3",
    ]
    assert "record_count: 2" in text
    segment = record_pb2.LogSegment.FromString(data)
    records = record_pb2.Records.FromString(segment.batches[0].records)
    assert [record.value for record in records.records] == [b"first", b"second"]
    assert segment.SerializeToString() == data


@pytest.mark.may_block(reason="what a failed append left is cut off on the loop, before the next")
async def test_file_that_may_not_grow_is_a_full_disk(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    async with opened(tmp_path / "logs") as table:
        partition = await lead(table)
        await partition.append([make_batch(b"a" * 5_000)], acks=Acks.ALL)
        size = await asyncio.to_thread(os.path.getsize, tmp_path / "logs" / SEGMENT)
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_192, before[1]))
        try:
            with pytest.raises(StorageFull):
                await partition.append([make_batch(b"b" * 5_000)], acks=Acks.ALL)
            assert size == await asyncio.to_thread(os.path.getsize, tmp_path / "logs" / SEGMENT)
            await partition.append([make_batch(b"c")], acks=Acks.ALL)
            assert await values_of(partition) == [b"a" * 5_000, b"c"]
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await partition.append([make_batch(b"b" * 5_000)], acks=Acks.ALL)
    async with opened(tmp_path / "logs") as table:
        assert await values_of(await lead(table)) == [b"a" * 5_000, b"c", b"b" * 5_000]
