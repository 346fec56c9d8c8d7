"""Batches of one partition: in order, several in flight, again in order after a failure."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ottla.client.core.outgoing_batch import Appended, OutgoingBatch
from ottla.client.core.partition_queue import PartitionQueue
from ottla.client.rpc_errors import TransportFailed
from ottla.protocol.errors import (
    CorruptBatch,
    LeaderNotAvailable,
    NotEnoughReplicas,
    NotLeader,
    OttlaError,
    OutcomeUnknown,
    RecordTooLarge,
)

from .producing import NODE, Leader, batch, queue_of, sent

OK = Appended(0, 0)


def fail(queue: PartitionQueue, each: OutgoingBatch, error: OttlaError, now_ms: int = 0) -> None:
    queue.failed(each, error, now_ms=now_ms, chance=0.5)


def test_the_first_record_goes_at_once_and_later_ones_wait_for_company() -> None:
    queue = queue_of()
    queue.open = first = batch(1, size=10)
    assert sent(queue, now_ms=0) == [first]
    queue.open = second = batch(2, size=10)
    assert sent(queue, now_ms=4) == []
    assert sent(queue, now_ms=5) == [second]


def test_a_full_batch_waits_for_nobody_and_a_flushed_one_neither() -> None:
    queue = queue_of()
    queue.open = first = batch(1)
    queue.next_batch(NODE, 0)
    queue.open = full = batch(2, size=1_000)
    assert sent(queue) == [full]
    queue.open = flushed = batch(3, size=10)
    assert sent(queue) == []
    queue.sealed_up_to = flushed.sequence
    assert sent(queue) == [flushed]
    assert queue.batches() == [first, full, flushed]


def test_no_more_than_the_window_is_in_flight() -> None:
    batches = [batch(number) for number in range(5)]
    queue = queue_of(*batches, in_flight_max=2)
    assert sent(queue) == batches[:2]
    queue.succeeded(batches[0], OK)
    assert sent(queue) == [batches[2]]


def test_what_is_in_flight_at_one_broker_keeps_the_rest_from_another() -> None:
    batches = [batch(1), batch(2)]
    queue = queue_of(*batches)
    assert queue.next_batch(NODE, 0) is batches[0]
    assert queue.next_batch(2, 0) is None
    queue.succeeded(batches[0], OK)
    assert queue.next_batch(2, 0) is batches[1]


def test_after_a_failure_everything_behind_is_sent_again_in_order_with_the_mark() -> None:
    batches = [batch(number) for number in range(3)]
    queue = queue_of(*batches)
    sent(queue)
    fail(queue, batches[0], NotEnoughReplicas("too few"))
    assert sent(queue, now_ms=10_000) == []  # two are not answered yet
    fail(queue, batches[1], NotEnoughReplicas("too few"))
    fail(queue, batches[2], NotEnoughReplicas("too few"))
    assert sent(queue, now_ms=1) == []  # the backoff
    again = sent(queue, now_ms=10_000)
    assert again == batches
    assert [each.resumes for each in again] == [True, False, False]
    assert [each.attempt_count for each in again] == [2, 1, 1]


def test_a_final_failure_takes_only_its_own_batch_down() -> None:
    batches = [batch(number) for number in range(3)]
    queue = queue_of(*batches)
    sent(queue)
    for each in batches:
        fail(queue, each, CorruptBatch("bad"))
    assert [type(each.outcome) for each in batches] == [CorruptBatch, type(None), type(None)]
    assert sent(queue) == batches[1:]
    assert (batches[1].resumes, batches[2].resumes) == (True, False)


def test_a_broken_stream_leaves_every_outcome_open() -> None:
    batches = [batch(1), batch(2)]
    queue = queue_of(*batches, retries_max=0)
    sent(queue)
    queue.link_lost(TransportFailed("gone"), now_ms=0, chance=0.5)
    assert [type(each.outcome) for each in batches] == [OutcomeUnknown, OutcomeUnknown]


def test_a_later_plain_refusal_does_not_make_an_open_outcome_certain() -> None:
    first = batch(1)
    queue = queue_of(first)
    sent(queue)
    queue.link_lost(TransportFailed("gone"), now_ms=0, chance=0.5)
    assert sent(queue, now_ms=1_000) == [first]
    fail(queue, first, CorruptBatch("bad"))
    assert isinstance(first.outcome, OutcomeUnknown)
    assert (first.outcome.topic, first.outcome.partition) == ("flights", 0)


def test_a_known_new_leader_is_tried_without_a_wait() -> None:
    first = batch(1)
    queue = queue_of(first)
    sent(queue)
    queue.failed(first, NotLeader("moved"), now_ms=0, chance=None)
    assert queue.next_batch(2, 0) is first


def test_batches_too_large_for_the_topic_are_split_and_remembered() -> None:
    large = batch(1, size=4_000)
    large.entries = [(None, b"v%d" % number, 7, ()) for number in range(5)]
    queue = queue_of(large, batch(2))
    first, second = sent(queue)
    fail(queue, first, RecordTooLarge("too large"))
    fail(queue, second, RecordTooLarge("too large"))
    halves = sent(queue)
    assert [each.record_count for each in halves] == [2, 3, 1]
    assert halves[0].resumes
    for base, each in enumerate(halves):
        queue.succeeded(each, Appended(base * 10, 0))
    assert [first.fate_of(index) for index in (0, 1, 2, 4)] == [
        (Appended(0, 0), 0),
        (Appended(0, 0), 1),
        (Appended(10, 0), 0),
        (Appended(10, 0), 2),
    ]
    assert queue.batch_size_max < 10_000


def test_one_record_too_large_is_told_so() -> None:
    only = batch(1)
    queue = queue_of(only)
    sent(queue)
    fail(queue, only, RecordTooLarge("too large"))
    assert isinstance(only.outcome, RecordTooLarge)


def test_what_is_late_is_given_up_with_what_is_known_of_it() -> None:
    on_wire, failed, unsent = (batch(number, deadline_ms=100) for number in range(3))
    queue = queue_of(on_wire, unsent)
    queue.next_batch(NODE, 0)
    queue.expire(99)
    assert on_wire.outcome is None
    queue.expire(100)
    assert isinstance(on_wire.outcome, OutcomeUnknown)
    assert isinstance(unsent.outcome, LeaderNotAvailable)
    queue = queue_of(failed)
    sent(queue)
    fail(queue, failed, NotEnoughReplicas("two of three are down"))
    queue.expire(100)
    assert isinstance(failed.outcome, NotEnoughReplicas)
    assert "two of three are down" in failed.outcome.message
    assert queue.is_empty


def test_answers_that_come_too_late_change_nothing() -> None:
    only = batch(1, deadline_ms=10)
    queue = queue_of(only)
    sent(queue)
    queue.expire(10)
    queue.succeeded(only, OK)
    fail(queue, only, CorruptBatch("bad"))
    assert isinstance(only.outcome, OutcomeUnknown)


_fates = st.sampled_from(["fine"] * 6 + ["refused", "unknown"])
_actions = st.sampled_from(["send", "send", "answer", "answer", "break"])
_steps = st.lists(
    st.tuples(
        st.sampled_from(["send", "send", "answer", "answer", "break"]), _fates, st.integers(0)
    ),
    max_size=120,
)


@given(count=st.integers(1, 12), steps=_steps, window=st.integers(1, 5))
def test_any_history_leaves_every_batch_in_the_log_in_order(
    count: int, steps: list[tuple[str, str, int]], window: int
) -> None:
    batches = [batch(number) for number in range(count)]
    queue = queue_of(*batches, in_flight_max=window)
    leader = Leader()
    answers: list[tuple[OutgoingBatch, Appended | OttlaError]] = []
    now_ms, was_open = 0, False
    quiet = [("send", "fine", 0), ("answer", "fine", 0)] * (count * 8)
    for action, fate, choice in [*steps, *quiet]:
        now_ms += 200
        if action == "send":
            each = queue.next_batch(NODE, now_ms)
            if each is not None:
                was_open |= fate == "unknown"
                answers.append((each, leader.take(each, fate)))
        elif action == "break":
            was_open |= bool(answers)
            answers.clear()
            leader.reconnected()
            queue.link_lost(TransportFailed("gone"), now_ms=now_ms, chance=0.5)
        elif answers:
            each, answer = answers.pop(choice % len(answers))
            if isinstance(answer, Appended):
                queue.succeeded(each, answer)
            else:
                fail(queue, each, answer, now_ms)
    assert queue.is_empty
    assert all(isinstance(each.outcome, Appended) for each in batches)
    first_seen = list(dict.fromkeys(leader.log))
    assert first_seen == [each.sequence for each in batches]
    assert was_open or len(leader.log) == count
