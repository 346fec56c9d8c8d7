"""What an application's callbacks raise is logged, and ends nothing of ours."""

from __future__ import annotations

from typing import Any

import pytest

from ottla.client.application_calls import HarmlessInterceptor, HarmlessPartitioner, harmless
from ottla.client.record_values import PreparedRecord

RECORD = PreparedRecord("t", None, b"v", (), None, 9)


class Failing:
    """Callbacks that raise whatever they are asked."""

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        raise LookupError("on_send")

    def on_done(self, topic: str, partition: int, *, first: Any, error: Any) -> None:
        raise LookupError("on_done")

    def partition(self, topic: str, **_: object) -> int:
        raise LookupError("partition")

    def batch_sealed(self, topic: str, partition: int) -> None:
        raise LookupError("batch_sealed")


def test_what_is_told_of_an_end_may_fail_and_the_log_says_what(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def on_error(error: Exception) -> None:
        raise LookupError("on_error")

    harmless(on_error, name="on_error")(ValueError("delivery"))
    HarmlessInterceptor(Failing()).on_done("t", 0, first=None, error=None)
    HarmlessPartitioner(Failing()).batch_sealed("t", 0)
    assert [each.getMessage() for each in caplog.records] == [
        f"the application's {name} failed" for name in ("on_error", "on_done", "batch_sealed")
    ]
    assert all(each.exc_info for each in caplog.records)


def test_who_sends_a_record_hears_what_its_callbacks_raise() -> None:
    with pytest.raises(LookupError, match="on_send"):
        HarmlessInterceptor(Failing()).on_send(RECORD)
    with pytest.raises(LookupError, match="partition"):
        HarmlessPartitioner(Failing()).partition("t", key=None, value=b"v", partition_count=1)
