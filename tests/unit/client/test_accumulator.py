"""Everything a producer holds: counted, ripe in time, given up in time."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla.client.core.accumulator import split
from ottla.client.core.outgoing_batch import BATCH_OVERHEAD, Appended, OutgoingBatch, record_size
from ottla.client.core.partition_queue import PartitionQueue
from ottla.protocol.batch import read_batch
from ottla.protocol.errors import DuplicateNodeId, LeaderNotAvailable
from ottla.protocol.records import RecordInput, encode_record_batch, read_records

from ..protocol.examples import record_lists
from .producing import NODE, accumulator, fill


def test_bytes_are_held_until_the_fate_is_known() -> None:
    held = accumulator(buffer_size_max=2_000, batch_size_max=1_500)
    assert held.has_room(10_000)  # alone, a record of any size may go
    first = fill(held, b"x" * 1_000)
    assert held.used_size == first.size == BATCH_OVERHEAD + 40 + 1_000
    assert not held.has_room(1_000)
    queue = held.queue("flights", 0)
    assert queue.next_batch(NODE, 0) is first
    assert held.record_count == 1
    queue.succeeded(first, Appended(0, 0))
    assert (held.used_size, held.record_count) == (0, 0)
    assert held.has_room(1_000)


def test_a_queue_is_offered_when_a_batch_begins_and_when_it_has_lingered() -> None:
    offered: list[PartitionQueue] = []
    held = accumulator(on_ready=offered.append, linger_ms=5)
    fill(held, b"a", now_ms=100)
    queue = held.queue("flights", 0)
    assert offered == [queue]
    queue.next_batch(NODE, 100)
    fill(held, b"b", now_ms=102)
    held.due(106)
    assert (offered, held.next_due_ms()) == ([queue, queue], 107)
    held.due(107)
    assert (len(offered), held.next_due_ms()) == (3, None)


def test_flushing_makes_everything_ripe_that_is_held_then() -> None:
    held = accumulator()
    first = fill(held, b"a")
    held.queue("flights", 0).next_batch(NODE, 0)
    second = fill(held, b"b")
    assert held.flush() == [first, second]
    assert held.queue("flights", 0).next_batch(NODE, 0) is second


def test_expiry_and_retries_are_seen_by_one_scan() -> None:
    offered: list[PartitionQueue] = []
    held = accumulator(on_ready=offered.append, delivery_timeout_ms=1_000)
    late = fill(held, b"a", now_ms=0)
    other = fill(held, b"b", partition=1, now_ms=600)
    queue = held.queue("flights", 1)
    queue.next_batch(NODE, 600)
    queue.failed(other, LeaderNotAvailable("none"), now_ms=600, chance=0.9)
    offered.clear()
    held.expire(999)
    assert offered == [queue]
    held.expire(1_000)
    assert isinstance(late.outcome, LeaderNotAvailable)
    assert other.outcome is None


def test_abandoning_tells_every_batch() -> None:
    held = accumulator()
    batches = [fill(held, b"a"), fill(held, b"b", partition=1)]
    held.abandon(DuplicateNodeId("closing"))
    assert [type(each.outcome) for each in batches] == [DuplicateNodeId, DuplicateNodeId]
    assert held.used_size == 0


def _batch_of(entries: list[RecordInput], *, is_encoded: bool) -> OutgoingBatch:
    made = OutgoingBatch("t", 0, sequence=(1,), linger_until_ms=0, deadline_ms=0)
    made.record_count = len(entries)
    if is_encoded:
        made.frame = encode_record_batch(entries)
    else:
        made.entries = entries
    return made


@given(entries=record_lists, is_encoded=st.booleans())
def test_splitting_keeps_every_record_in_order(
    entries: list[RecordInput], is_encoded: bool
) -> None:
    halves = split(_batch_of(entries, is_encoded=is_encoded))
    if len(entries) == 1:
        assert halves == ()
        return
    assert [len(half.entries) for half in halves] == [len(entries) // 2, -(-len(entries) // 2)]
    together = [(*each[:3], tuple(each[3])) for half in halves for each in half.entries]
    assert together == [(*each[:3], tuple(each[3])) for each in entries]


@given(entries=record_lists)
def test_the_estimate_is_never_below_what_a_frame_takes(entries: list[RecordInput]) -> None:
    frame = encode_record_batch(entries)
    assert len(frame) <= BATCH_OVERHEAD + sum(map(record_size, entries))
    assert len(list(read_records(read_batch(frame), size_max=1 << 30))) == len(entries)
