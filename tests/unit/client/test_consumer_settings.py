"""What a consumer can't be set to is said when it is made."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.client.consumer import Consumer
from ottla.protocol.errors import InvalidConfig


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"rack": "r" * 250}, "rack='rrr.* must be text of at most 249 characters"),
        ({"rack": 5}, "rack=5 must be text"),
        ({"fetch_buffer_bytes": 10}, "fetch_buffer_bytes=10 must be a whole number from"),
        ({"auto_offset_reset": "first"}, "first"),
        ({"isolation": "serializable"}, "isolation='serializable' must be one of"),
    ],
)
def test_values_out_of_bounds_are_refused(options: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidConfig, match=told):
        Consumer("127.0.0.1:1", **options)


def test_a_rack_of_the_longest_kind_is_taken() -> None:
    Consumer("127.0.0.1:1", rack="r" * 249)
