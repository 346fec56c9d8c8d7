"""Passing admin calls on to the active controller, and waiting until their effect shows here.

Owns: the caller's principal and deadline on the way, going where NOT_CONTROLLER points, repeating
what only reads, never repeating a change that may have been made. Which calls there are is
`admin_servicer`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import grpc
from google.protobuf.message import Message

from ottla.api.admin.v1 import admin_pb2_grpc
from ottla.api.cluster.v1 import cluster_pb2
from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotController,
    OttlaError,
    OutcomeUnknown,
)
from ottla_broker.metadata.controller_link import CONNECT_SECONDS_MAX, ControllerLink
from ottla_broker.metadata.version_waiters import VersionWaiters
from ottla_broker.metadata.views import ClusterVersion
from ottla_runtime.channels import Backoff, call_until
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy
from ottla_runtime.interceptors.principal import forwarding_metadata
from ottla_runtime.rpc_errors import TransportFailed, error_of

TIMEOUT_MS_DEFAULT = 30_000
TIMEOUT_MS_MAX = 600_000
ANSWER_MS_MAX = 250
"""What is kept of a caller's time to tell it why, a tenth at most: its time-out says nothing."""

_BACKOFF: Final = Backoff(first_ms=50, longest_ms=1_000)

_Answer = TypeVar("_Answer", bound=Message)


class AdminForwarder:
    """Calls the active controller for others; used by many calls at once."""

    def __init__(
        self,
        link: ControllerLink,
        *,
        applied: VersionWaiters,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._link = link
        self._applied = applied
        self._clock = clock
        self._entropy = entropy

    def deadline_ms(self, left_seconds: float | None) -> int:
        """The monotonic time by which a call with so much time left has to be answered."""
        return self._clock.monotonic_ms() + answer_within_ms(left_seconds)

    async def ask(
        self, answer_type: type[_Answer], request: Message, *, principal: str, deadline_ms: int
    ) -> _Answer:
        """`call` for what changes nothing."""
        return await self.call(
            answer_type, request, principal=principal, deadline_ms=deadline_ms, changes=False
        )

    async def change(
        self, answer_type: type[_Answer], request: Message, *, principal: str, deadline_ms: int
    ) -> _Answer:
        """`call` for a change."""
        return await self.call(
            answer_type, request, principal=principal, deadline_ms=deadline_ms, changes=True
        )

    async def call(
        self,
        answer_type: type[_Answer],
        request: Message,
        *,
        principal: str,
        deadline_ms: int,
        changes: bool,
    ) -> _Answer:
        """Make a unary call of AdminService at the active controller.

        Args:
            answer_type: tells which: the contracts name answers after their RPC.
            request: what to send.
            principal: on whose behalf.
            deadline_ms: monotonic time by which it has to be answered.
            changes: whether it changes anything, so that it mustn't run twice.

        Raises:
            OttlaError: as the controller answered.
            MetadataStoreUnavailable: no controller answers; nothing was changed.
            OutcomeUnknown: the controller was asked for a change and its answer was lost.
        """
        name = answer_type.DESCRIPTOR.name.removesuffix("Response")
        news = self._link.news

        async def attempt(timeout_seconds: float) -> _Answer:
            nonlocal news
            news = self._link.news  # what comes while this is tried counts, too
            channel = await self._link.connected(timeout_seconds=timeout_seconds)
            address = self._link.address
            method = getattr(admin_pb2_grpc.AdminServiceStub(channel), name)
            called: Awaitable[_Answer] = method(
                request, timeout=timeout_seconds, metadata=forwarding_metadata(principal)
            )
            try:
                return await self._link.while_it_leads(called)
            except (grpc.RpcError, TransportFailed) as error:
                failed = error_of(error) if isinstance(error, grpc.RpcError) else error
                if isinstance(failed, TransportFailed | NotController):
                    self._link.failed(address, failed)
                raise _meaning(failed, changes=changes) from error

        async def told() -> None:
            await news.wait()

        return await call_until(
            attempt,
            deadline_ms=deadline_ms,
            clock=self._clock,
            entropy=self._entropy,
            backoff=_BACKOFF,
            sooner=told,
        )

    async def visible(self, version: cluster_pb2.MetadataVersion, *, deadline_ms: int) -> None:
        """Return once a version shows on this broker, or the deadline is over."""
        left_ms = deadline_ms - self._clock.monotonic_ms()
        try:
            async with asyncio.timeout(max(left_ms, 0) / 1_000):
                await self._applied.wait_for(ClusterVersion.of(version))
        except TimeoutError:
            return  # the change is made all the same, and the answer says so

    @asynccontextmanager
    async def streaming(self, *, changes: bool) -> AsyncIterator[grpc.aio.Channel]:
        """The channel to the controller believed to be active, for a call that streams.

        Raises:
            MetadataStoreUnavailable: no controller answers; the next call looks elsewhere.
            OutcomeUnknown: the call `changes` something, and its answer was lost.
        """
        channel = await self._link.connected(timeout_seconds=CONNECT_SECONDS_MAX)
        address = self._link.address
        try:
            yield channel
        except grpc.RpcError as error:
            failed = error_of(error)
            if isinstance(failed, TransportFailed | NotController):
                self._link.failed(address, failed)
            raise _meaning(failed, changes=changes) from error


def answer_within_ms(left_seconds: float | None) -> int:
    """How long a controller may take for a caller who waits so long, or says nothing of it."""
    left_ms = TIMEOUT_MS_DEFAULT if left_seconds is None else int(left_seconds * 1_000)
    left_ms = min(left_ms, TIMEOUT_MS_MAX)
    return left_ms - min(ANSWER_MS_MAX, left_ms // 10)


def _meaning(failed: OttlaError, *, changes: bool) -> OttlaError:
    if not isinstance(failed, TransportFailed):
        return failed
    if changes:
        return _NotAgain(f"the controller's answer was lost: {failed.message}")
    return MetadataStoreUnavailable(f"the controller doesn't answer: {failed.message}")


class _NotAgain(OutcomeUnknown):
    """An outcome nobody knows; never retried here, where nobody could tell a second change."""

    retriable = False
