"""What the programs in other languages are held to, and how a full run is told."""

from __future__ import annotations

import zlib
from typing import Any

import pytest
from interop.round_trips import Ran, checksum, objections, outcome_of, table, verdict


def first(number: int) -> bytes:
    """Of record `number`, below 10, what its checksum is taken over."""
    return b"key-%d\1record %d " % (number, number) + b"." * 91


def said(count: int = 3, **changes: Any) -> dict[str, Any]:
    return {
        "language": "go",
        "records": count,
        "sent": checksum(count),
        "read": checksum(count),
        "reason": "UNKNOWN_TOPIC_OR_PARTITION",
        "seconds": 0.5,
        **changes,
    }


def ran(title: str, *, trouble: str = "") -> Ran:
    return Ran(title, "TLS", said(), trouble)


def test_the_checksum_joins_the_partitions_crcs() -> None:
    crcs = [zlib.crc32(first(number)) for number in range(4)]
    assert checksum(0) == "00000000"
    assert checksum(1) == f"{crcs[0]:08x}"
    assert checksum(4) == f"{crcs[0] ^ crcs[1] ^ crcs[2] ^ crcs[3]:08x}"


def test_a_partitions_crc_goes_on_in_its_order() -> None:
    rest = int(checksum(4), 16) ^ zlib.crc32(first(0))
    assert checksum(5) == f"{rest ^ zlib.crc32(first(0) + first(4)):08x}"
    assert checksum(5) != f"{rest ^ zlib.crc32(first(4) + first(0)):08x}"


def test_an_outcome_as_it_should_be_has_no_objections() -> None:
    assert objections(said(5_000), language="go", count=5_000) == []


@pytest.mark.parametrize(
    ("change", "objection"),
    [
        ({"language": "java"}, "language is 'java', not 'go'"),
        ({"records": 2}, "records is 2, not 3"),
        ({"read": "00000000"}, f"read is '00000000', not '{checksum(3)}'"),
        ({"sent": None}, f"sent is None, not '{checksum(3)}'"),
        ({"reason": ""}, "reason is '', not 'UNKNOWN_TOPIC_OR_PARTITION'"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": "1"}, "seconds is '1'"),
    ],
)
def test_each_item_that_is_wrong_is_an_objection(change: dict[str, Any], objection: str) -> None:
    assert objections(said(**change), language="go", count=3) == [objection]


@pytest.mark.parametrize("printed", ["", "no json\n", "[1]\n", "{}\n{}\n", "{}"])
def test_anything_but_one_line_with_one_object_is_no_outcome(printed: str) -> None:
    with pytest.raises(ValueError, match=r"not one line|Expecting value|Extra data"):
        outcome_of(printed)


def test_the_table_tells_what_ran_and_what_did_not() -> None:
    runs = [ran("Go"), Ran("C++", "TLS", trouble="gRPC for C++ is not installed\nat all")]
    assert table(runs).splitlines() == [
        "language  connection  records  records/s  checksum  error reason",
        "--------  ----------  -------  ---------  --------  --------------------------  "
        "-----------------------------",
        f"Go        TLS         3        6          {checksum(3)}  UNKNOWN_TOPIC_OR_PARTITION  ok",
        "C++       TLS                                                                   "
        "gRPC for C++ is not installed",
    ]


def test_a_run_with_all_languages_and_no_trouble_passes() -> None:
    line, passed = verdict([ran(title) for title in ("Go", "Java", "Rust", "C++", "Node", "Go")])
    assert passed
    assert line == "5 of 5 languages ran: Go, Java, Rust, C++, Node; every check holds"


def test_a_run_with_too_few_languages_fails() -> None:
    runs = [ran(title) for title in ("Go", "Java", "Rust", "C++")]
    line, passed = verdict([*runs, Ran("Node", "TLS", trouble="Node.js is not installed")])
    assert not passed
    assert line == "FAILED: 4 of 5 languages ran: Go, Java, Rust, C++"
    assert verdict([]) == ("FAILED: 0 of 5 languages ran", False)


def test_one_wrong_checksum_fails_the_run() -> None:
    runs = [ran(title) for title in ("Go", "Java", "Rust", "C++")]
    line, passed = verdict([*runs, ran("Node", trouble="read is 0")])
    assert not passed
    assert line.startswith("FAILED: 5 of 5 languages ran")
