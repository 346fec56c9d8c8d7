"""Silence about what gRPC's poller says when several event loops use it.

All loops of a process wait for one socket of `grpc.aio`; a loop that is woken and comes too late
gets BlockingIOError, harmlessly, which older releases of grpcio leave to asyncio to log (grpc
#25364). The services of a cluster have a loop of their own, so that user and cluster are two.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


@contextlib.contextmanager
def poller_unheard() -> Iterator[None]:
    """Drop that one line, on every loop, until the block ends."""
    logger, silence = logging.getLogger("asyncio"), _PollerNoise()
    logger.addFilter(silence)
    try:
        yield
    finally:
        logger.removeFilter(silence)


class _PollerNoise(logging.Filter):
    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        is_noise = isinstance(error, BlockingIOError) and (
            "PollerCompletionQueue._handle_events" in record.getMessage()
        )
        return not is_noise
