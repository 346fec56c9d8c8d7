"""The client guide's tables and numbers are the code's."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from ottla.api.error.v1 import error_pb2
from ottla.api.record.v1 import record_pb2
from ottla.client import liveness, metadata_follower
from ottla.client.calls import Patience
from ottla.client.core.retries import Backoff
from ottla.protocol.batch import FIELDS_SIZE, encode_batch
from ottla.protocol.batch_header import FORMAT_VERSION, BatchHeader
from ottla.protocol.compression import ZSTD_WINDOW_SIZE_MAX, Codec
from ottla.protocol.errors import error_class
from ottla_broker.core import append_checks, fetch_credit, recompression
from ottla_broker.core.log_config import LogConfig
from ottla_broker.metadata import client_view, watch_interest
from ottla_broker.rpc import (
    fetch_servicer,
    fetch_session,
    produce_requests,
    produce_session,
    read_responses,
)
from ottla_broker.transport.limits import TransportLimits

PAGE = Path(__file__).parents[3] / "docs/protocols/client-guide.md"
GUIDE = PAGE.read_text(encoding="utf-8")
LIMITS = TransportLimits()
MIB = 1 << 20


def rows(heading: str) -> list[list[str]]:
    """The cells of the first table under a heading."""
    text = re.split(r"^#+ ", GUIDE.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)
    lines = [line for line in text[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_every_reason_stands_once_with_its_status_and_whether_to_try_again() -> None:
    listed: dict[str, tuple[str, str]] = {}
    for names, status, again, _ in rows("Reasons"):
        for name in re.findall(r"`(\w+)`", names):
            assert name not in listed
            listed[name] = status, again
    wire = {name.removeprefix("ERROR_REASON_") for name, n in error_pb2.ErrorReason.items() if n}
    assert set(listed) == wire
    for name, (status, again) in listed.items():
        error = error_class(name)
        fresh = "yes, fresh" if error.refresh_metadata else "yes"
        assert (status, again) == (error.status.name, fresh if error.retriable else "no"), name


def test_details_that_reasons_carry_are_named() -> None:
    table = GUIDE.partition("### Reasons")[2].partition("### Waiting")[0]
    for name in re.findall(r"`([A-Z_]{4,})`", table):
        assert all(f"`{key}`" in table for key in error_class(name).metadata_keys), name


def test_the_header_is_laid_out_as_its_table_says() -> None:
    frame = encode_batch(b"", codec=Codec.NONE, record_count=1, last_offset_delta=0,
                         base_timestamp_ms=1, max_timestamp_ms=1)  # fmt: skip
    message = frame[2:]
    table = rows("The canonical form")
    names = [row[2].strip("`") for row in table]
    assert names == [*BatchHeader.__dataclass_fields__, "records"]
    for position, tag, name, _, _ in table:
        field = record_pb2.RecordBatch.DESCRIPTOR.fields_by_name[name.strip("`")]
        assert message[int(position)] == int(tag, 16)
        assert int(tag, 16) >> 3 == field.number
    assert int(table[-1][0]) == FIELDS_SIZE
    assert FORMAT_VERSION << 8 == 256


def test_the_worked_example_of_credit_is_the_first_trace() -> None:
    trace = json.loads((PAGE.parents[2] / "tests/vectors/credit.json").read_text())["traces"][0]
    steps = [
        [
            "grant" if "grant" in step else "message",
            f"{step.get('grant', step.get('message')):,}",
            f"{step['balance']:,}",
            f"{sum(step['held'].values()):,}",
        ]
        for step in trace["steps"]
    ]
    assert [row[:4] for row in rows("Credit")] == steps


NUMBERS = [
    ("unanswered requests | 1,000 ", produce_session.IN_FLIGHT_COUNT_MAX, 1_000),
    ("bytes together | 32 MiB", produce_session.IN_FLIGHT_SIZE_MAX, 32 * MIB),
    ("in flight or shut | 20,000", produce_session.LANES_MAX, 20_000),
    ("at most 3.5 MiB with their tags", produce_requests.BATCHES_SIZE_MAX, 7 * MIB // 2),
    ("1 to 600,000; 0: 30,000", produce_requests.TIMEOUT_MS_MAX, 600_000),
    ("1 to 600,000; 0: 30,000", produce_requests.TIMEOUT_MS_DEFAULT, 30_000),
    ("messages to a broker | 4 MiB", LIMITS.message_size_max, 4 * MIB),
    ("`max.message.bytes` of its topic (1 MiB", LogConfig().max_message_bytes, MIB),
    ("(0 and anything above: 1 MiB)", fetch_session.MESSAGE_SIZE_MAX, MIB),
    ("more than 20,000 subscriptions", fetch_session.SUBSCRIPTIONS_MAX, 20_000),
    ("10,000 events", fetch_session.EVENTS_MAX, 10_000),
    ("a balance above 2⁴⁰", fetch_credit.CREDIT_MAX, 1 << 40),
    ("up to 1,000 queries", fetch_servicer.QUERIES_MAX, 1_000),
    ("your deadline, 30 s at most", fetch_servicer.QUERY_TIMEOUT_MS, 30_000),
    ("to 1,000 topics, by name or id", client_view.ASKED_TOPICS_MAX, 1_000),
    ("`page_size` partitions (10,000)", client_view.PAGE_PARTITIONS_MAX, 10_000),
    ("1,000 names, 100 prefixes", watch_interest.PREFIXES_MAX, 100),
    ("at most 1,000,000", append_checks.COMPRESSED_RECORD_COUNT_MAX, 1_000_000),
    ("decompresses to 16 MiB", read_responses.DECOMPRESSED_SIZE_MAX, 16 * MIB),
    ("64 times `max.message.bytes`", recompression.EXPANSION_MAX, 64),
    ("(1 h) after its clock", LogConfig().message_timestamp_after_max_ms, 3_600_000),
    ("window at most 8 MiB", ZSTD_WINDOW_SIZE_MAX, 8 * MIB),
    ("1,000 calls at a time", LIMITS.http2.concurrent_streams_max, 1_000),
    ("pings after 30 s of silence", LIMITS.keepalive_idle_ms, 30_000),
    ("closes after 20 s", LIMITS.keepalive_timeout_ms, 20_000),
    ("after 30 min ± 10 %", LIMITS.connection_age_max_ms, 30 * 60_000),
    ("50 ms at first", Backoff().first_ms, 50),
    ("2 s at most", Backoff().longest_ms, 2_000),
    ("3 s for the first contact", Patience().first_contact_ms, 3_000),
    ("every 15 s at the latest", liveness.HEARTBEAT_SECONDS, 15),
    ("45 s are a break", metadata_follower.SILENCE_MS, 45_000),
]


@pytest.mark.parametrize(("words", "number", "listed"), NUMBERS, ids=[n[0] for n in NUMBERS])
def test_the_guide_says_the_number_that_holds(words: str, number: int, listed: int) -> None:
    assert words in " ".join(GUIDE.split())
    assert number == listed


def test_links_lead_somewhere() -> None:
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", GUIDE):
        assert (PAGE.parent / link).exists(), link
