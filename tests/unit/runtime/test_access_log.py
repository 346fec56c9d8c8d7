"""The line of a call whose client vanished is written without asking for the call again."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from kit.clock import ManualClock
from ottla_runtime.interceptors.access_log import AccessLines, AccessLogInterceptor

READ = "/ottla.api.fetch.v1.FetchService/Read"


class VanishingCall:
    """What grpc.aio knows of a call until it frees it; asking afterwards crashes the process."""

    def __init__(self) -> None:
        self.freed = False

    def peer(self) -> str:
        return str(self._known("ipv4:127.0.0.1:5000"))

    def invocation_metadata(self) -> Any:
        return self._known(())

    def time_remaining(self) -> Any:
        return self._known(1.5)

    def _known(self, value: Any) -> Any:
        assert not self.freed
        return value


async def _ended_by_its_generator(clock: ManualClock, *, after_ms: int) -> dict[str, Any]:
    log = AccessLogInterceptor(clock=clock, lines="all", trusts_forwarded=False)
    call: Any = VanishingCall()
    scope = log.scope(READ, call)
    with capture_logs() as lines:
        await scope.__aenter__()
        call.freed = True
        clock.tick(after_ms)
        await scope.__aexit__(GeneratorExit, GeneratorExit(), None)
    [line] = lines
    return dict(line)


async def test_a_vanished_client_is_logged_without_touching_its_call() -> None:
    line = await _ended_by_its_generator(ManualClock(), after_ms=700)
    assert (line["code"], line["peer"], line["duration_ms"]) == (
        "CANCELLED",
        "ipv4:127.0.0.1:5000",
        700,
    )


async def test_a_call_that_outlived_its_deadline_says_so() -> None:
    line = await _ended_by_its_generator(ManualClock(), after_ms=1_500)
    assert line["code"] == "DEADLINE_EXCEEDED"


@pytest.mark.parametrize(("lines", "logged"), [("all", 1), ("failed", 0), ("none", 0)])
async def test_a_call_goes_by_what_is_to_be_logged_when_it_ends(
    lines: AccessLines, logged: int
) -> None:
    log = AccessLogInterceptor(clock=ManualClock(), lines="all", trusts_forwarded=False)
    call: Any = VanishingCall()
    call.code = lambda: 0
    with capture_logs() as written:
        async with log.scope(READ, call):
            log.lines = lines
    assert len(written) == logged
