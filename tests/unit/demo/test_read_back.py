"""What is read back is tallied by carrier, and anything out of its place is an error."""

from __future__ import annotations

import pytest

from demo.dataset import CarrierTally
from demo.read_back import OrderError, Tallies
from demo.reporting import CarrierResult
from ottla import ConsumerRecord


def record(
    offset: int, key: bytes | None, value: bytes | None, *, partition: int = 0
) -> ConsumerRecord[bytes, bytes]:
    return ConsumerRecord("flights", partition, offset, 0, key, value, ())


def digest_of(*lines: bytes) -> str:
    tally = CarrierTally()
    for line in lines:
        tally.add(line)
    return tally.digest.hexdigest()


def test_carriers_are_tallied_in_the_order_of_their_partition() -> None:
    tallies = Tallies()
    assert tallies.add([record(0, b"UA", b"one"), record(0, b"AA", b"x", partition=3)]) == 4
    assert tallies.add([record(1, b"B6", b"y"), record(2, b"UA", b"two")]) == 4
    assert tallies.results() == {
        "UA": CarrierResult(2, digest_of(b"one", b"two"), partition=0),
        "AA": CarrierResult(1, digest_of(b"x"), partition=3),
        "B6": CarrierResult(1, digest_of(b"y"), partition=0),
    }
    assert [tallies.next_offset(partition) for partition in (0, 1, 3)] == [3, 0, 1]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (record(0, b"UA", b"again"), "partition 0: 0, not 1"),
        (record(2, b"UA", b"late"), "partition 0: 2, not 1"),
        (record(0, b"UA", b"astray", partition=1), "carrier UA is in two partitions"),
        (record(1, None, b"nobody's"), "0:1 is not a carrier's flight"),
        (record(1, b"UA", None), "0:1 is not a carrier's flight"),
    ],
    ids=["doubled", "missing", "in two partitions", "no key", "no value"],
)
def test_a_record_out_of_its_place_is_an_error(
    second: ConsumerRecord[bytes, bytes], message: str
) -> None:
    tallies = Tallies()
    tallies.add([record(0, b"UA", b"one")])
    with pytest.raises(OrderError, match=message):
        tallies.add([second])
