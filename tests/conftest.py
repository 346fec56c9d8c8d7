"""What every test runs under: the guards of `kit`, and Hypothesis without deadlines.

The guards are plugins of their own so that their own tests can load them into an inner pytest.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import grpc.aio
import pytest
from hypothesis import configuration, settings

pytest_plugins = [
    "kit.skip_list",
    "kit.loop_guard",
    "kit.leak_guard",
    "kit.service_logs",
    "kit.parameter_ids",
]

# An example's time depends on what else the machine does; pytest's own time-out bounds the whole.
settings.register_profile("ottla", deadline=None, print_blob=True)
settings.load_profile("ottla")
# Works without HOME and from any folder; what was found stays beside the other caches.
configuration.set_hypothesis_home_dir(Path(__file__).parent.parent / ".cache" / "hypothesis")


@pytest.fixture(scope="session", autouse=True)
def _grpc_stays_up() -> Iterator[None]:
    # Its last channel takes grpc's poller down with it, and blocks the loop of that test. The
    # poller wants a loop to begin with, and the thread may have none any more.
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    grpc.aio.init_grpc_aio()
    asyncio.set_event_loop(None)
    yield
    grpc.aio.shutdown_grpc_aio()
    loop.close()
