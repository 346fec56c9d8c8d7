"""The line that gRPC's poller makes asyncio log is dropped, and no other."""

from __future__ import annotations

import asyncio
import logging

import pytest

from ottla.testing.poller_noise import poller_unheard

NOISE = "Exception in callback PollerCompletionQueue._handle_events(<_UnixSelector...>)()"


def say(message: str, error: Exception | None) -> None:
    """As the default handler of asyncio's loops does."""
    logging.getLogger("asyncio").error(message, exc_info=error)


def test_only_the_pollers_late_wake_up_is_dropped(caplog: pytest.LogCaptureFixture) -> None:
    with poller_unheard():
        say(NOISE, BlockingIOError(11, "Resource temporarily unavailable"))
        assert caplog.messages == []
        say(NOISE, ValueError("something else there"))
        say("Exception in callback other()", BlockingIOError(11, "not the poller's"))
        say("Task was destroyed but it is pending!", None)
        assert len(caplog.messages) == 3


def test_after_the_last_block_everything_is_heard_again(caplog: pytest.LogCaptureFixture) -> None:
    with poller_unheard():
        with poller_unheard():
            pass
        say(NOISE, BlockingIOError())
        assert caplog.messages == []
    say(NOISE, BlockingIOError())
    assert caplog.messages == [NOISE]


def test_the_line_is_what_a_loop_logs(caplog: pytest.LogCaptureFixture) -> None:
    class PollerCompletionQueue:
        def _handle_events(self) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    PollerCompletionQueue.__qualname__ = "PollerCompletionQueue"
    PollerCompletionQueue._handle_events.__qualname__ = "PollerCompletionQueue._handle_events"

    async def one_turn() -> None:
        asyncio.get_running_loop().call_soon(PollerCompletionQueue()._handle_events)
        await asyncio.sleep(0)

    with poller_unheard():
        asyncio.run(one_turn())
        assert caplog.messages == []
    asyncio.run(one_turn())
    assert len(caplog.messages) == 1
