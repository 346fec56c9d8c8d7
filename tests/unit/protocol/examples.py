"""Records, frames and Hypothesis strategies that the tests of the protocol share."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st

from ottla.api.record.v1 import record_pb2
from ottla.protocol.batch import stamp
from ottla.protocol.compression import Codec
from ottla.protocol.errors import OttlaError
from ottla.protocol.records import TIMESTAMP_MS_MAX, RecordInput, encode_record_batch

RECORDS: list[RecordInput] = [
    (b"UA", b'{"flight": 1545}', 1_357_041_600_000, [("trace", b"\x01\x02"), ("absent", None)]),
    (b"UA", None, 1_357_041_600_005, []),
    (None, b"", 1_357_041_599_990, [("", b"")]),
    (b"", b"x" * 300, 1_357_041_600_005, []),
]

timestamps_ms = st.integers(-TIMESTAMP_MS_MAX, TIMESTAMP_MS_MAX)
header_lists = st.lists(
    st.tuples(st.text(max_size=8), st.none() | st.binary(max_size=8)), max_size=3
)
record_inputs = st.tuples(
    st.none() | st.binary(max_size=200),
    st.none() | st.binary(max_size=200) | st.just(b"v" * 2500),
    timestamps_ms | st.integers(1_357_041_600_000, 1_357_041_700_000),
    header_lists,
)
record_lists = st.lists(record_inputs, min_size=1, max_size=12)


def stamped_frame(codec: Codec = Codec.NONE, records: list[RecordInput] | None = None) -> bytearray:
    """A frame as a leader stores it: at offset 1000, epoch 7."""
    frame = encode_record_batch(
        RECORDS if records is None else records,
        codec=codec,
        producer_id=41,
        producer_epoch=3,
        base_sequence=12,
    )
    stamp(frame, base_offset=1000, leader_epoch=7, append_time_ms=0)
    return frame


def as_proto(records: list[RecordInput]) -> record_pb2.Records:
    """The records as protobuf objects, relative to the first one's time."""
    base_ms = records[0][2]
    return record_pb2.Records(
        records=[
            record_pb2.Record(
                timestamp_delta=timestamp_ms - base_ms,
                offset_delta=index,
                key=key,
                value=value,
                headers=[record_pb2.Header(key=name, value=text) for name, text in headers],
            )
            for index, (key, value, timestamp_ms, headers) in enumerate(records)
        ]
    )


def failure_of(action: Callable[[], object]) -> type[OttlaError] | None:
    """The class of the error the action ends with; None when it succeeds."""
    try:
        action()
    except OttlaError as error:
        return type(error)
    return None
