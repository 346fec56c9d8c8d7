"""The vectors for other languages: current, and true for this implementation."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from crc32c import crc32c

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import (
    FORMAT_VERSION,
    BatchHeader,
    BatchIncomplete,
    check_header,
    encode_batch,
    read_batch,
    stamp,
    verify_crc,
    verify_header_crc,
)
from ottla.protocol.canonical import canonical, is_canonical
from ottla.protocol.compression import Codec, decompress
from ottla.protocol.errors import CorruptBatch, OttlaError, UnsupportedVersion
from ottla.protocol.records import Record, read_records

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "batches.json").read_text(encoding="utf-8")
)
# What a reader does with a frame, in this order, and what the finding step raises.
CHECKS: dict[str, tuple[Callable[[bytes], object], type[OttlaError], str]] = {
    "incomplete": (read_batch, BatchIncomplete, "cut short"),
    "layout": (read_batch, CorruptBatch, "0x0a|canonical form"),
    "header_crc32c": (
        lambda data: verify_header_crc(read_batch(data)),
        CorruptBatch,
        "header_crc32c does not hold",
    ),
    "crc32c": (lambda data: verify_crc(read_batch(data)), CorruptBatch, "crc32c does not hold"),
    "format_version": (
        lambda data: check_header(read_batch(data).header),
        UnsupportedVersion,
        "format version 2",
    ),
}


def named(section: str) -> pytest.MarkDecorator:
    """One test a vector, by its name."""
    return pytest.mark.parametrize(
        "vector", VECTORS[section], ids=[vector["name"] for vector in VECTORS[section]]
    )


def unhex(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text)


def test_vectors_are_of_this_format_and_cover_every_codec() -> None:
    assert VECTORS["format_version"] == FORMAT_VERSION
    codecs = {vector["codec"] for vector in VECTORS["batches"]}
    assert codecs == {codec.name.lower() for codec in Codec}
    assert {vector["found_by"] for vector in VECTORS["damaged"]} == set(CHECKS)


@named("batches")
def test_batch_says_what_the_vector_lists(vector: dict[str, Any]) -> None:
    batch = read_batch(bytes.fromhex(vector["frame_hex"]))
    header = batch.header
    verify_crc(batch)
    if header.header_crc32c:
        verify_header_crc(batch)
    check_header(header)
    assert dataclasses.asdict(header) == vector["header"]
    payload = decompress(header.codec, batch.payload, size_max=vector["decompressed_size"])
    assert (len(payload), crc32c(payload)) == (
        vector["decompressed_size"],
        vector["decompressed_crc32c"],
    )
    records = list(read_records(batch, size_max=len(payload)))
    listed = [
        Record(
            each["offset"],
            each["timestamp_ms"],
            unhex(each["key_hex"]),
            unhex(each["value_hex"]),
            tuple((name, unhex(value)) for name, value in each["headers"]),
        )
        for each in vector["records"]
    ]
    assert (records if len(records) < 10 else [records[0], records[-1]]) == listed


@named("batches")
def test_batch_is_what_the_encoder_writes_today(vector: dict[str, Any]) -> None:
    listed = BatchHeader(**vector["header"])
    frame = bytes.fromhex(vector["frame_hex"])
    made = encode_batch(
        read_batch(frame).payload,
        codec=Codec[vector["codec"].upper()],
        record_count=listed.record_count,
        last_offset_delta=listed.last_offset_delta,
        base_timestamp_ms=listed.base_timestamp_ms,
        max_timestamp_ms=listed.max_timestamp_ms,
        producer_id=listed.producer_id,
        producer_epoch=listed.producer_epoch,
        base_sequence=listed.base_sequence,
        is_transactional=listed.is_transactional,
        is_control=listed.is_control,
    )
    if listed.header_crc32c:
        stamp(
            made,
            base_offset=listed.base_offset,
            leader_epoch=listed.leader_epoch,
            append_time_ms=listed.append_time_ms,
        )
    assert made == frame


@named("foreign")
def test_foreign_encoding_becomes_the_frame_listed(vector: dict[str, Any]) -> None:
    message = bytes.fromhex(vector["message_hex"])
    assert not is_canonical(message)
    assert canonical(message) == bytes.fromhex(vector["canonical_frame_hex"])


@named("damaged")
def test_damage_is_found_by_the_check_listed(vector: dict[str, Any]) -> None:
    check, error, words = CHECKS[vector["found_by"]]
    with pytest.raises(error, match=words) as caught:
        check(bytes.fromhex(vector["frame_hex"]))
    assert type(caught.value) is error


def test_documents_example_is_the_vector_and_its_table_the_layout() -> None:
    text = (Path(__file__).parents[3] / "docs/protocols/log-format.md").read_text(encoding="utf-8")
    lines = text.partition("## An example")[2].split("```")[1].strip().splitlines()
    example = bytes.fromhex("".join(line[:31] for line in lines))
    (vector,) = [each for each in VECTORS["batches"] if each["name"].startswith("one record")]
    assert example.hex() == vector["frame_hex"]
    rows = re.findall(r"^\| (\d+) `(\w+)` \| (\w\w) \| \+(\d+) \|", text, re.MULTILINE)
    fields = BatchHeader.__dataclass_fields__
    assert [name for _, name, _, _ in rows] == [*fields, "records"]
    for number, name, tag, position in rows:
        assert record_pb2.RecordBatch.DESCRIPTOR.fields_by_name[name].number == int(number)
        assert example[2 + int(position)] == int(tag, 16)
