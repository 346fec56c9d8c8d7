"""Channels to other services, and calling through them until a deadline.

Owns the one keepalive policy of clients, reconnection, and retries by the reason of an error. Those
of gRPC itself are off: they resend to the same place, which is wrong for most of our reasons. What
a failed call means is in `rpc_errors`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc

from ottla.api.cluster.v1.cluster_pb2 import SECURITY_TLS, Endpoint
from ottla.protocol.errors import OttlaError
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy
from ottla_runtime.listeners import format_host_port
from ottla_runtime.rpc_errors import error_of
from ottla_runtime.timed_wait import done_by

_Result = TypeVar("_Result")

# Stock stubs take messages of 4 MiB; no message of ours is larger.
MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
KEEPALIVE_INTERVAL_MS: Final = 10_000
KEEPALIVE_TIMEOUT_MS: Final = 10_000

CHANNEL_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.keepalive_time_ms", KEEPALIVE_INTERVAL_MS),
    ("grpc.keepalive_timeout_ms", KEEPALIVE_TIMEOUT_MS),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    ("grpc.enable_retries", 0),
    # A peer that restarts is back within a second; gRPC's default waits up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Also how long one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Channels share no connection, so closing one never waits for another's owner.
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(
    endpoint: Endpoint,
    *,
    credentials: grpc.ChannelCredentials | None = None,
    options: Sequence[tuple[str, Any]] = (),
) -> grpc.aio.Channel:
    """A channel to `endpoint`; connects on its first call and again whenever it breaks.

    Args:
        endpoint: where to; its security decides whether the channel is encrypted.
        credentials: for TLS; without, the machine's certificate authorities are trusted.
        options: channel arguments on top of the policy, winning over it.

    Raises:
        ValueError: credentials for an endpoint without TLS, which would send them in the clear.
    """
    target = format_host_port(endpoint.host, endpoint.port)
    merged = [*(dict(CHANNEL_OPTIONS) | dict(options)).items()]
    if endpoint.security == SECURITY_TLS:
        return grpc.aio.secure_channel(
            target, credentials or grpc.ssl_channel_credentials(), options=merged
        )
    if credentials is not None:
        raise ValueError(f"{target} speaks no TLS, but there are credentials for it")
    return grpc.aio.insecure_channel(target, options=merged)


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to wait between tries: doubling from the first to the longest, with full jitter."""

    first_ms: int = 50
    longest_ms: int = 5_000

    def wait_ms(self, failure_count: int, entropy: Entropy) -> int:
        """The wait after so many failures in a row, at least 1 ms."""
        bound_ms = min(self.longest_ms, self.first_ms * 2 ** min(failure_count - 1, 30))
        return max(1, int(bound_ms * entropy.random()))


async def call_until(
    attempt: Callable[[float], Awaitable[_Result]],
    *,
    deadline_ms: int,
    clock: Clock,
    entropy: Entropy,
    backoff: Backoff | None = None,
    sooner: Callable[[], Coroutine[Any, Any, object]] | None = None,
) -> _Result:
    """Make a call that may be repeated, again and again while its errors say so.

    Args:
        attempt: makes the call with a timeout in seconds, raising `grpc.RpcError` or `OttlaError`.
        deadline_ms: monotonic time by which it has to be answered.
        clock: measures the deadline and waits.
        entropy: spreads the waits of many callers.
        backoff: the waits; an error's `retry_after_ms` is waited at the least.
        sooner: what ends a wait before its time, unless the error says how long to wait.

    Raises:
        OttlaError: the last error, if it is final or no time is left for another try.
    """
    waits = backoff or Backoff()
    failure_count = 0
    while True:
        timeout_seconds = max(1, deadline_ms - clock.monotonic_ms()) / 1_000
        try:
            return await attempt(timeout_seconds)
        except (grpc.RpcError, OttlaError) as error:
            failed = error if isinstance(error, OttlaError) else error_of(error)
        failure_count += 1
        wait_ms = max(waits.wait_ms(failure_count, entropy), failed.retry_after_ms or 0)
        resume_ms = clock.monotonic_ms() + wait_ms
        if not failed.retriable or resume_ms >= deadline_ms:
            raise failed
        if sooner is None or failed.retry_after_ms is not None:
            await clock.sleep_until(resume_ms)
        else:
            await done_by(sooner(), deadline_ms=resume_ms, clock=clock)
