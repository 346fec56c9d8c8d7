"""Settings, values, partitioners and verdicts: what is refused, and what goes where."""

from __future__ import annotations

import random
import subprocess
import sys

import pytest

from ottla.client.core.partitioners import (
    RandomPartitioner,
    RoundRobinPartitioner,
    StickyPartitioner,
)
from ottla.client.core.retries import Backoff, Verdict, leaves_open, verdict
from ottla.client.producer_settings import ProducerSettings
from ottla.client.record_values import (
    Preparation,
    PreparedRecord,
    checked_headers,
    checked_time,
    serialized,
)
from ottla.client.rpc_errors import TransportFailed
from ottla.protocol.errors import (
    AcksTimedOut,
    CorruptBatch,
    InvalidConfig,
    InvalidRequest,
    NotLeader,
    OttlaError,
    RecordTooLarge,
)
from ottla.protocol.partitioner import partition_for_key


@pytest.mark.parametrize(
    "options",
    [
        {"acks": "some"}, {"acks": 2}, {"linger_ms": -1}, {"linger_ms": True}, {"linger_ms": "5"},
        {"batch_bytes": 4 << 20}, {"batch_bytes_max": 4 << 20}, {"buffer_bytes": 10},
        {"retries": -1}, {"compression": "brotli"}, {"in_flight_max": 0},
        {"compression": "snappy", "compression_level": 3}, {"request_timeout_ms": 600_001},
    ],
)  # fmt: skip
def test_settings_out_of_bounds_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(InvalidConfig):
        ProducerSettings(**options)  # type: ignore[arg-type]  # wrong on purpose


def test_acks_are_taken_by_either_name() -> None:
    assert [ProducerSettings(acks=acks).wire_acks for acks in ("all", -1, "leader", 1, 0)] == [
        3, 3, 2, 2, 1,
    ]  # fmt: skip


def _fails(_value: object) -> bytes:
    raise KeyError("shape")


def test_values_become_bytes_or_are_refused_by_name() -> None:
    assert serialized(None, _fails, "value") is None
    assert serialized(memoryview(b"ab"), None, "value") == b"ab"
    assert serialized({"a": 1}, lambda value: str(value).encode(), "value") == b"{'a': 1}"
    with pytest.raises(InvalidRequest, match="key_serializer"):
        serialized("text", None, "key")
    with pytest.raises(InvalidRequest, match="shape"):
        serialized(1, _fails, "value")
    with pytest.raises(InvalidRequest, match="not bytes"):
        serialized(1, lambda _value: "text", "value")  # type: ignore[arg-type]  # wrong on purpose


@pytest.mark.parametrize(
    "headers",
    [[("a",)], ["ab"], [("a", "text")], [(1, b"")], [("\ud800", b"")], [("a", b"")] * 1_001],
)
def test_headers_that_cannot_travel_are_refused(headers: list[object]) -> None:
    with pytest.raises(InvalidRequest):
        checked_headers(headers)


def test_headers_and_times_that_can_travel_are_kept() -> None:
    assert checked_headers([("a", b"1"), ["a", None]]) == (("a", b"1"), ("a", None))
    assert checked_time(0) == 0
    for time_ms in (-1, 2**62, "now", 1.5):
        with pytest.raises(InvalidRequest):
            checked_time(time_ms)


class _Routing:
    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        return record._replace(partition=2, headers=(*record.headers, ("seen", b"1")))

    def on_done(self, topic: str, partition: int, *, first: object, error: object) -> None:
        raise NotImplementedError


def test_interceptors_see_bytes_one_after_the_other() -> None:
    preparation = Preparation(
        key_serializer=lambda key: repr(key).encode(),
        value_serializer=None,
        interceptors=[_Routing(), _Routing()],
    )
    prepared = preparation.prepare("t", 5, b"v", [], partition=None, timestamp_ms=9)
    assert prepared == ("t", b"5", b"v", (("seen", b"1"), ("seen", b"1")), 2, 9)


class _Spoiling:
    """Makes something else of every record."""

    def __init__(self, made: object) -> None:
        self._made = made

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        return self._made  # type: ignore[return-value]  # wrong on purpose

    def on_done(self, topic: str, partition: int, *, first: object, error: object) -> None:
        raise NotImplementedError


GOOD = PreparedRecord("t", b"k", b"v", (), None, 9)


@pytest.mark.parametrize(
    "made",
    [
        None,
        ("t", b"k", b"v", (), None, 9),
        GOOD._replace(value="text"),  # type: ignore[arg-type]  # wrong on purpose
        GOOD._replace(key=5),  # type: ignore[arg-type]  # wrong on purpose
        GOOD._replace(headers=(("a", "text"),)),  # type: ignore[arg-type]  # wrong on purpose
        GOOD._replace(timestamp_ms=-1),
    ],
    ids=["none", "tuple", "value", "key", "headers", "time"],
)
def test_what_interceptors_make_of_a_record_is_checked_before_it_is_queued(made: object) -> None:
    preparation = Preparation(
        key_serializer=None, value_serializer=None, interceptors=[_Spoiling(made)]
    )
    with pytest.raises(InvalidRequest):
        preparation.prepare("t", b"k", b"v", [], partition=None, timestamp_ms=9)


def test_keys_live_where_their_hash_says_and_the_rest_sticks_until_a_batch_is_sealed() -> None:
    chooser = StickyPartitioner(random.Random(1))

    def keyless() -> int:
        return chooser.partition("t", key=None, value=b"", partition_count=50)

    keyed = chooser.partition("t", key=b"UA", value=b"", partition_count=50)
    assert keyed == partition_for_key(b"UA", 50)
    first = keyless()
    assert {keyless() for _ in range(20)} == {first}
    chooser.batch_sealed("t", first + 1)
    assert keyless() == first
    others = set()
    for _ in range(200):
        chooser.batch_sealed("t", keyless())
        others.add(keyless())
    assert len(others) > 40
    assert chooser.partition("t", key=None, value=b"", partition_count=1) == 0  # fewer than before


def test_turns_and_chance_use_every_partition() -> None:
    turns = RoundRobinPartitioner()
    chosen = [turns.partition("t", key=None, value=b"", partition_count=3) for _ in range(7)]
    assert chosen == [0, 1, 2, 0, 1, 2, 0]
    assert turns.partition("t", key=b"UA", value=b"", partition_count=3) == partition_for_key(
        b"UA", 3
    )
    chance = RandomPartitioner(random.Random(3))
    drawn = [chance.partition("t", key=b"UA", value=b"", partition_count=3) for _ in range(60)]
    assert set(drawn) == {0, 1, 2}


@pytest.mark.parametrize(
    ("error", "attempts", "expected"),
    [
        (NotLeader("moved"), 1, Verdict.RETRY),
        (NotLeader("moved"), 3, Verdict.GIVE_UP),
        (TransportFailed("gone"), 2, Verdict.RETRY),
        (CorruptBatch("bad"), 1, Verdict.GIVE_UP),
        (RecordTooLarge("large"), 9, Verdict.SPLIT),
    ],
)
def test_the_reason_decides_what_is_done(
    error: OttlaError, attempts: int, expected: Verdict
) -> None:
    assert verdict(error, attempt_count=attempts, retries_max=2) is expected


def test_only_an_answer_can_say_that_nothing_was_appended() -> None:
    assert not leaves_open(NotLeader("moved"), is_answer=True)
    assert leaves_open(AcksTimedOut("slow"), is_answer=True)
    assert leaves_open(TransportFailed("gone"), is_answer=False)
    assert leaves_open(NotLeader("moved"), is_answer=False)


def test_waits_double_up_to_the_longest_and_obey_the_server() -> None:
    backoff = Backoff(first_ms=10, longest_ms=100)
    assert [backoff.wait_ms(count, chance=0.999) for count in (1, 2, 4, 50)] == [9, 19, 79, 99]
    assert backoff.wait_ms(1, chance=0.0) == 1
    assert backoff.wait_ms(1, chance=0.5, least_ms=900) == 900


def test_importing_ottla_alone_loads_neither_grpc_nor_protobuf() -> None:
    code = (
        "import sys, ottla; assert 'Producer' in dir(ottla); "
        "print([name for name in ('grpc', 'google.protobuf', 'asyncio') if name in sys.modules]); "
        "print([getattr(ottla, name).__name__ for name in ottla.__all__] != [])"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=50, check=True
    )
    assert ran.stdout.split() == ["[]", "True"]
