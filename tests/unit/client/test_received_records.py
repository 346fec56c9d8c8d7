"""Records on their way to the application: one that can't be read is an error in its place."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from ottla.client.core.positions import TopicPartition
from ottla.client.core.record_columns import ConsumerRecord, RawRecord
from ottla.client.received_records import Deserializer, Reception
from ottla.protocol.errors import InvalidRequest

PLACE = TopicPartition("flights", 0)


def run_of(*values: bytes, first: int = 0) -> list[RawRecord]:
    return [
        ConsumerRecord("flights", 0, first + place, 5, None, value, ())
        for place, value in enumerate(values)
    ]


def reception() -> Reception[bytes, int]:
    return Reception(key_deserializer=None, value_deserializer=int, interceptors=[])


def read_on(held: Reception[bytes, int]) -> list[object]:
    """Everything up to the end, errors by the offset they name, as one who always reads on."""
    found: list[object] = []
    while True:
        found += [record.value for record in held.take(1_000)]
        try:
            if not held.go_on():
                return found
        except InvalidRequest as error:
            found.append(f"offset {error.metadata['offset']}")


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ([b"1", b"x", b"3"], [1, "offset 1", 3]),
        ([b"1", b"2", b"x"], [1, 2, "offset 2"]),
        ([b"1", b"x", b"y", b"4", b"z"], [1, "offset 1", "offset 2", 4, "offset 4"]),
    ],
)
def test_a_record_that_cannot_be_deserialized_costs_no_other(
    values: Sequence[bytes], expected: list[object]
) -> None:
    held = reception()
    held.receive(run_of(*values))
    assert read_on(held) == expected


def test_the_first_record_of_a_run_may_be_the_bad_one() -> None:
    held = reception()
    with pytest.raises(InvalidRequest, match="the value of flights-0 at offset 7"):
        held.receive(run_of(b"x", b"8", first=7))
    assert read_on(held) == [8]


def test_the_position_is_that_of_the_record_that_comes_next_bad_or_not() -> None:
    held = reception()
    held.receive(run_of(b"1", b"x", b"3"))
    assert held.next_offsets() == {PLACE: 0}
    assert len(held.take(1)) == 1
    assert held.next_offsets() == {PLACE: 1}
    with pytest.raises(InvalidRequest):
        held.go_on()
    assert held.next_offsets() == {PLACE: 2}


def test_what_is_dropped_is_not_deserialized_later() -> None:
    held = reception()
    held.receive(run_of(b"1", b"x", b"3"))
    held.drop({PLACE})
    assert (held.has_some(), held.go_on(), held.next_offsets()) == (False, False, {})


class Failing:
    """Raises the first time, and lets everything through after that."""

    def __init__(self) -> None:
        self.has_failed = False

    def on_records(self, records: Sequence[RawRecord]) -> Sequence[RawRecord]:
        if not self.has_failed:
            self.has_failed = True
            raise KeyError("mine")
        return records


@pytest.mark.parametrize("deserializer", [None, int])
def test_records_that_an_interceptor_failed_at_are_shown_to_it_again(
    deserializer: Deserializer[object] | None,
) -> None:
    held = Reception[object, object](
        key_deserializer=None, value_deserializer=deserializer, interceptors=[Failing()]
    )
    with pytest.raises(KeyError, match="mine"):
        held.receive(run_of(b"1", b"2"))
    assert not held.has_some()
    assert held.next_offsets() == {PLACE: 0}
    assert held.go_on()
    assert [record.offset for record in held.take(10)] == [0, 1]
    assert not held.go_on()


def test_records_that_an_interceptor_failed_at_are_dropped_like_others() -> None:
    held = Reception[bytes, bytes](
        key_deserializer=None, value_deserializer=None, interceptors=[Failing()]
    )
    with pytest.raises(KeyError):
        held.receive(run_of(b"1", b"2"))
    held.drop({PLACE})
    assert not held.go_on()
    assert held.next_offsets() == {}


def test_what_somebody_gathers_is_dropped_too_and_never_put_back() -> None:
    held = reception()
    held.receive(run_of(b"1", b"2", b"3"))
    taken = held.take(2)
    with held.holding(taken):
        held.drop({PLACE})
        held.put_back(taken)
    assert (taken, held.take(10)) == ([], [])
    held.receive(run_of(b"4"))
    kept = held.take(1)
    held.drop({PLACE})
    assert [record.value for record in kept] == [4]
