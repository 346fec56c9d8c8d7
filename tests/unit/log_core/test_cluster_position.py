"""What a broker remembers of its cluster beyond its life."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ottla_broker.core.cluster_position import (
    ClusterPosition,
    decode_position,
    encode_position,
)
from ottla_broker.core.documents import DamagedDocumentError, encode_document

NUMBERS = st.integers(0, 2**64 - 1)


@given(NUMBERS, NUMBERS, NUMBERS)
def test_a_position_is_read_as_it_was_written(epoch: int, generation: int, revision: int) -> None:
    position = ClusterPosition(epoch, (generation, revision))
    assert decode_position(encode_position(position)) == position


def test_positions_merge_to_the_later_of_each() -> None:
    merged = ClusterPosition(7, (1, 900)).merged(ClusterPosition(5, (2, 3)))
    assert merged == ClusterPosition(7, (2, 3))


@pytest.mark.parametrize(
    "body", [{}, {"broker_epoch": 1, "generation": "1", "revision": 1}, {"broker_epoch": True}]
)
def test_what_is_no_position_is_told(body: dict[str, object]) -> None:
    with pytest.raises(DamagedDocumentError):
        decode_position(encode_document("cluster-position", body))
