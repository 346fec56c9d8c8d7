"""Blocking calls wait so that Ctrl-C always ends them."""

from __future__ import annotations

import _thread
import threading

import pytest

from ottla.blocking.latch import Latch


def test_a_signal_that_does_not_wake_the_thread_is_seen_all_the_same() -> None:
    latch = Latch()
    # As a signal does that comes after Python looked and before the thread sleeps.
    interrupting = threading.Thread(target=_thread.interrupt_main)
    with pytest.raises(KeyboardInterrupt):
        interrupting.start()
        latch.wait()
    interrupting.join()
    assert not latch.is_open


def test_once_open_it_lets_pass_for_good_whoever_was_interrupted_before() -> None:
    latch = Latch()
    opening = threading.Thread(target=latch.open)
    opening.start()
    latch.wait()
    opening.join()
    latch.open()
    latch.wait()
    assert latch.is_open
