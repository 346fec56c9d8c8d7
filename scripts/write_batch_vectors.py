"""Writes `tests/vectors/batches.json`: batches, foreign encodings and damage as hex.

Clients in other languages check their encoders and decoders against the file;
`docs/protocols/log-format.md` explains it. Its frames are made by `ottla.protocol`. Other versions
of the compression libraries may write other compressed bytes, all of them valid, so the committed
file is checked by decoding it (`tests/unit/protocol/test_vectors.py`) and rewritten by hand alone:
`.venv/bin/python scripts/write_batch_vectors.py`.
"""

from __future__ import annotations

import json
import struct
from dataclasses import asdict
from pathlib import Path
from typing import Any

from crc32c import crc32c

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import FORMAT_VERSION, encode_batch, read_batch, read_head, stamp
from ottla.protocol.compression import Codec, decompress
from ottla.protocol.records import RecordInput, encode_record_batch, encode_records, read_records

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors" / "batches.json"
PAYLOAD_SIZE_MAX = 1_000_000

RECORDS: list[RecordInput] = [
    (b"UA", b'{"flight": 1545, "origin": "EWR"}' * 4, 1_357_041_600_000, [("trace", b"\x01\xff")]),
    (b"UA", None, 1_357_041_600_005, []),
    (None, b"", 1_357_041_599_990, [("absent", None), ("empty", b"")]),
    (b"", b"na\xc3\xafve", 1_357_041_600_005, [("sch\u00f6n", b"1")]),
]
PLAIN_RECORD: list[RecordInput] = [(None, b"v", 1_000, [])]


def stamped(frame: bytearray, *, append_time_ms: int = 0) -> bytearray:
    stamp(frame, base_offset=4711, leader_epoch=7, append_time_ms=append_time_ms)
    return frame


def frames() -> dict[str, bytearray]:
    """Each valid frame by what it shows."""
    by_codec = {
        codec.name.lower(): stamped(encode_record_batch(RECORDS, codec=codec)) for codec in Codec
    }
    many: list[RecordInput] = [(b"k", b"v%d" % n, 1_000 + n, []) for n in range(3_000)]
    marker = encode_records(PLAIN_RECORD)
    control = encode_batch(
        marker.payload,
        codec=Codec.NONE,
        record_count=1,
        last_offset_delta=0,
        base_timestamp_ms=1_000,
        max_timestamp_ms=1_000,
        producer_id=9,
        producer_epoch=2,
        is_transactional=True,
        is_control=True,
    )
    return {
        **by_codec,
        "one record, not stamped by a leader": encode_record_batch(PLAIN_RECORD),
        "leader's append time": stamped(encode_record_batch(RECORDS), append_time_ms=1_400_000),
        "idempotent producer": stamped(
            encode_record_batch(RECORDS, producer_id=2**40, producer_epoch=3, base_sequence=100)
        ),
        "many records, longer lengths": stamped(encode_record_batch(many, codec=Codec.GZIP)),
        "transaction's marker": stamped(control),
    }


def described(name: str, frame: bytearray) -> dict[str, Any]:
    """A valid frame with everything a reader finds in it."""
    batch = read_batch(frame)
    payload = decompress(batch.header.codec, batch.payload, size_max=PAYLOAD_SIZE_MAX)
    records = list(read_records(batch, size_max=PAYLOAD_SIZE_MAX))
    return {
        "name": name,
        "codec": batch.header.codec.name.lower(),
        "frame_hex": frame.hex(),
        "header": asdict(batch.header),
        "decompressed_size": len(payload),
        "decompressed_crc32c": crc32c(payload),
        "records": [
            {
                "offset": record.offset,
                "timestamp_ms": record.timestamp_ms,
                "key_hex": None if record.key is None else record.key.hex(),
                "value_hex": None if record.value is None else record.value.hex(),
                "headers": [
                    [key, None if value is None else value.hex()] for key, value in record.headers
                ],
            }
            for record in (records if len(records) < 10 else [records[0], records[-1]])
        ],
    }


def foreign() -> list[dict[str, str]]:
    """Encodings a generated stub may write, with the frame a broker makes of each."""
    canonical = encode_record_batch(RECORDS)
    (batch,) = record_pb2.LogSegment.FromString(bytes(canonical)).batches
    for field in ("base_offset", "leader_epoch", "append_time_ms", "header_crc32c"):
        batch.ClearField(field)
    complete = batch.SerializeToString()
    batch.ClearField("crc32c")
    without_checksum = batch.SerializeToString()
    first, rest = without_checksum[:5], without_checksum[5:]
    messages = {
        "leader's fields left out": complete,
        "leader's fields and crc32c left out": without_checksum,
        "attributes written last": rest + first,
    }
    return [
        {"name": name, "message_hex": message.hex(), "canonical_frame_hex": canonical.hex()}
        for name, message in messages.items()
    ]


def damaged() -> list[dict[str, str]]:
    """Frames that a reader must refuse, with the check that finds it."""
    frame = bytes(stamped(encode_record_batch(RECORDS)))
    fields_position = frame.index(b"\x09", 1)
    payload_position = read_head(frame).payload_position

    def flipped(position: int) -> str:
        return (frame[:position] + bytes((frame[position] ^ 1,)) + frame[position + 1 :]).hex()

    unknown_version = bytearray(frame)
    struct.pack_into("<I", unknown_version, fields_position + 34, 0x200)
    covered = unknown_version[fields_position + 33 :]
    struct.pack_into("<I", unknown_version, fields_position + 29, crc32c(covered))
    stamped(unknown_version)
    rows = [
        ("cut short", frame[:-1].hex(), "incomplete"),
        ("cut inside the header", frame[:50].hex(), "incomplete"),
        ("first byte is no tag", flipped(0), "layout"),
        ("tag of field 1", flipped(fields_position), "layout"),
        ("base_offset", flipped(fields_position + 1), "header_crc32c"),
        ("crc32c itself", flipped(fields_position + 29), "header_crc32c"),
        ("record_count", flipped(fields_position + 44), "crc32c"),
        ("payload's first byte", flipped(payload_position), "crc32c"),
        ("payload's last byte", flipped(len(frame) - 1), "crc32c"),
        ("format version 2", unknown_version.hex(), "format_version"),
    ]
    return [{"name": name, "frame_hex": data, "found_by": check} for name, data, check in rows]


def vectors() -> dict[str, Any]:
    """The whole file."""
    return {
        "about": "Test vectors of Ottla's record batches; see docs/protocols/log-format.md.",
        "format_version": FORMAT_VERSION,
        "batches": [described(name, frame) for name, frame in frames().items()],
        "foreign": foreign(),
        "damaged": damaged(),
    }


def main() -> None:
    VECTORS.parent.mkdir(parents=True, exist_ok=True)
    VECTORS.write_text(json.dumps(vectors(), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
