"""Writes `partitioner.json` and `errors.json` of the client guide's test vectors.

`docs/protocols/client-guide.md` explains them, `tests/unit/protocol` holds them to the code. Other
vectors have scripts of their own. Run by hand alone, when the table of errors grew:
`.venv/bin/python scripts/write_client_vectors.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from google.rpc import error_details_pb2, status_pb2

from ottla.api.error.v1 import error_pb2
from ottla.protocol.error_details import to_proto, to_status
from ottla.protocol.errors import (
    FieldError,
    InvalidRequest,
    LogTruncated,
    NotLeader,
    OffsetOutOfRange,
    OttlaError,
    Throttled,
    error_classes,
)
from ottla.protocol.partitioner import murmur2, partition_for_key

VECTORS = Path(__file__).resolve().parent.parent / "tests" / "vectors"
PARTITION_COUNTS = (1, 2, 3, 6, 12, 100, 10_000)
KEYS = [
    *(b"abcdefghi"[:size] for size in range(10)),
    b"UA",
    b"foobar",
    "Zürich".encode(),
    b"\xff",
    b"\xff\x80\x00",
    b"\x00\x00\x00\x00",
    b"\xff\xff\xff\xff",
    (1545).to_bytes(8, "big"),
    b"x" * 64,
    b"x" * 65,
    b"x" * 100,
]


def partitioner() -> dict[str, Any]:
    """Keys, their hashes, and where they go."""
    return {
        "about": "Where keys go; see docs/protocols/client-guide.md.",
        "keys": [
            {
                "key_hex": key.hex(),
                "murmur2": murmur2(key),
                "partitions": {str(n): partition_for_key(key, n) for n in PARTITION_COUNTS},
            }
            for key in KEYS
        ],
    }


def examples() -> dict[str, OttlaError]:
    """Errors with every kind of detail, by what they show."""
    place = {"topic": "flights", "partition": 4}
    leader = {"leader_id": 2, "leader_host": "10.0.0.2", "leader_port": 9092, "leader_epoch": 9}
    return {
        "the leader is elsewhere": NotLeader(
            "this broker does not lead flights-4", metadata=place | leader
        ),
        "nobody leads": NotLeader("this broker does not lead flights-4", metadata=place),
        "an offset that is not there": OffsetOutOfRange(
            "offset 7 is not within 100 to 250",
            metadata=place | {"earliest_offset": 100, "latest_offset": 250},
        ),
        "the log was cut": LogTruncated(
            "what was read in epoch 3 holds up to 120, not to 130",
            metadata=place | {"divergence_epoch": 3, "divergence_offset": 120},
        ),
        "a wait": Throttled("over a quota", retry_after_ms=1_500),
        "a field at fault": InvalidRequest(
            "page_size is 20000", field_errors=[FieldError("page_size", "0 to 10000")]
        ),
        "words beyond ASCII": InvalidRequest("Zürich: 1 → 2"),
    }


def foreign_statuses() -> dict[str, bytes]:
    """Details that are not ours: the status code alone counts."""
    of_another = status_pb2.Status(code=14, message="no healthy upstream")
    info = error_details_pb2.ErrorInfo(reason="NOT_LEADER", domain="example.com")
    of_another.details.add().Pack(info)
    return {
        "without details": status_pb2.Status(code=8, message="too large").SerializeToString(),
        "an ErrorInfo of another domain": of_another.SerializeToString(),
        "not a Status at all": b"\xff\xff\xff",
    }


def newer_status() -> bytes:
    """A reason that this version doesn't know."""
    status = status_pb2.Status(code=14, message="later than this client")
    info = error_details_pb2.ErrorInfo(reason="NOT_INVENTED_YET", domain="ottla")
    info.metadata["topic"] = "flights"
    status.details.add().Pack(info)
    return bytes(status.SerializeToString())


def reproducible(data: bytes) -> bytes:
    """The same status with the entries of its maps in a fixed order."""
    status = status_pb2.Status.FromString(data)
    for detail in status.details:
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            detail.Pack(info, deterministic=True)
    return bytes(status.SerializeToString(deterministic=True))


def described(reason: str, error: OttlaError) -> dict[str, Any]:
    """What a client reads out of an error."""
    return {
        "reason": reason,
        "message": error.message,
        "metadata": dict(error.metadata),
        "retry_after_ms": error.retry_after_ms,
    }


def errors() -> dict[str, Any]:
    """The table of reasons, statuses of calls, errors of items."""
    numbers = {name.removeprefix("ERROR_REASON_"): n for name, n in error_pb2.ErrorReason.items()}
    reasons = [
        {
            "reason": reason,
            "number": numbers[reason],
            "status": error.status.name,
            "status_number": int(error.status),
            "retriable": error.retriable,
            "refresh_metadata": error.refresh_metadata,
            "metadata_keys": list(error.metadata_keys),
        }
        for reason, error in error_classes().items()
        if reason in numbers
    ]
    statuses: list[dict[str, Any]] = [
        {
            "name": name,
            "status_hex": reproducible(to_status(error)).hex(),
            "code": int(error.status),
            **described(error.reason, error),
            "field_errors": [list(each) for each in error.field_errors],
        }
        for name, error in examples().items()
    ]
    later = {"reason": "NOT_INVENTED_YET", "message": "later than this client", "code": 14}
    later |= {"metadata": {"topic": "flights"}, "retry_after_ms": None, "field_errors": []}
    statuses.append({"name": "a later reason", "status_hex": newer_status().hex(), **later})
    statuses += [
        {"name": name, "status_hex": data.hex(), "reason": None}
        for name, data in foreign_statuses().items()
    ]
    items = [
        {
            "name": name,
            "error_hex": to_proto(error).SerializeToString(deterministic=True).hex(),
            **described(error.reason, error),
        }
        for name, error in examples().items()
    ]
    about = "Reasons, and errors as they travel; see docs/protocols/client-guide.md."
    return {"about": about, "reasons": reasons, "statuses": statuses, "items": items}


def main() -> None:
    for name, made in {
        "partitioner": partitioner(),
        "errors": errors(),
    }.items():
        text = json.dumps(made, indent=1, ensure_ascii=False) + "\n"
        (VECTORS / f"{name}.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
