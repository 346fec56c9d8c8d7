"""Calls passed on to a controller that doesn't answer in time."""

from __future__ import annotations

import pytest

from ottla_broker.rpc.admin_forwarder import answer_within_ms


@pytest.mark.parametrize(
    ("left_seconds", "within_ms"),
    [(20.0, 19_750), (1.0, 900), (0.005, 5), (0.0, 0), (None, 29_750), (1e9, 599_750)],
)
def test_time_is_left_to_tell_the_caller_why(left_seconds: float | None, within_ms: int) -> None:
    assert answer_within_ms(left_seconds) == within_ms
