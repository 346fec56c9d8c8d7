"""Calling an etcd cluster: which member is asked, for how long, and who is asked next.

Owns the member in use, logging in, and the history that answers show. A call goes to one member
until that fails; then everything moves on to the next, streams too. What can be answered elsewhere
is asked again there within the call's time; what may have been done and must not be done twice is
never repeated.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final, TypeVar

import structlog
from google.protobuf.message import Message

from ottla.internal.etcd.v1 import etcd_pb2
from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotAuthenticated,
    OttlaError,
    OutcomeUnknown,
)
from ottla_controller.store.etcd_failures import (
    AUTH_NOT_ENABLED,
    AttemptFailedError,
    Judgement,
    Verdict,
)
from ottla_controller.store.etcd_history import StoreHistory
from ottla_controller.store.etcd_member import AnyStream, Member, Metadata
from ottla_controller.store.etcd_requests import (
    AUTHENTICATE,
    RANGE,
    AnyMethod,
    EtcdMethod,
    KeySpace,
)
from ottla_controller.store.etcd_settings import EtcdSettings
from ottla_runtime import fields
from ottla_runtime.channels import Backoff
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)

_LOGINS_MAX: Final = 3
_BACKOFF: Final = Backoff(first_ms=50, longest_ms=500)
# A member that has lost its leader says so instead of letting callers wait.
_HAS_LEADER: Final = ("hasleader", "true")

_logger = structlog.get_logger(__name__)


class EtcdConnection:
    """The members of one cluster as one. Used from one event loop, by any number of tasks."""

    def __init__(
        self,
        members: tuple[Member, ...],
        settings: EtcdSettings,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._members = members
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        # Controllers that begin at different members spread over all of them.
        self._current = int(entropy.random() * len(members))
        self._token: str | None = None if settings.username else ""
        self._closed = False
        self._proven: Member | None = None
        """The member in use, once it has answered for a majority."""
        self._probe = KeySpace(settings.prefix).probe()
        self.history = StoreHistory()
        self.answered_ms = clock.monotonic_ms()
        """When a majority of the cluster was last heard of."""

    async def call(
        self,
        method: EtcdMethod[_Request, _Response],
        request: _Request,
        *,
        timeout_ms: int | None = None,
    ) -> _Response:
        """Makes a call, on another member where one fails.

        Args:
            method: what to call.
            request: with what.
            timeout_ms: how long it may take in all; None: as the settings say.

        Raises:
            OutcomeUnknown: it may have been done.
            MetadataStoreUnavailable: it was not done, or may be repeated; no member answered.
            StoreRestoredError: another history answers than what was seen before.
            OttlaError: what etcd refused it for.
        """
        deadline_ms = self._clock.monotonic_ms() + (timeout_ms or self._settings.request_timeout_ms)
        failure_count = login_count = 0
        while True:
            self._check_usable()
            member = self._members[self._current]
            try:
                if not method.repeatable:
                    await self._prove(member, deadline_ms)
                return await self._attempt(member, method, request, deadline_ms)
            except AttemptFailedError as failed:
                verdict, error = failed.judgement.verdict, failed.judgement.error
            if verdict is Verdict.FINAL:
                raise error
            if verdict is Verdict.LOG_IN:
                login_count += 1
                self._forget_token(login_count, error)
                continue
            if verdict is not Verdict.DOUBTFUL:
                self._leave(member, str(error))
            if verdict is not Verdict.ELSEWHERE and not method.repeatable:
                raise OutcomeUnknown(error.message)
            if verdict is Verdict.DOUBTFUL:
                raise error
            failure_count += 1
            await self._before_next(failure_count, deadline_ms, error)

    @asynccontextmanager
    async def stream(self, method: AnyMethod) -> AsyncIterator[AnyStream]:
        """A stream on the member in use, which ends when that is given up.

        What breaks the stream is raised in the block, and makes everything move on.

        Raises:
            AttemptFailedError: there is no connection, or no token.
        """
        self._check_usable()
        member = self._members[self._current]
        try:
            await member.connect(self._settings.attempt_timeout_ms)
            metadata = await self._metadata(member, self._settings.attempt_timeout_ms)
            call = member.open_stream(method, metadata)
            try:
                yield call
            finally:
                member.close_stream(call)
        except AttemptFailedError as failed:
            if failed.judgement.verdict in {Verdict.ELSEWHERE, Verdict.UNKNOWN}:
                self._leave(member, str(failed))
            raise

    def forget_token(self) -> None:
        """Logs in anew before the next call."""
        if self._settings.username:
            self._token = None

    def _leave(self, member: Member, why: str) -> None:
        """Goes on with the next member, if this one is still in use."""
        if self._members[self._current] is not member:
            return
        self._current = (self._current + 1) % len(self._members)
        member.cut_streams()
        if self._proven is member:  # one line for each loss, not for each try
            self._proven = None
            _logger.warning(
                "metadata_store.member_left",
                **{fields.PEER: str(member.endpoint), fields.ERROR: why},
            )

    async def close(self) -> None:
        """Ends every connection; no call is made any more."""
        self._closed = True
        for member in self._members:
            await member.close()

    async def _prove(self, member: Member, deadline_ms: int) -> None:
        """Returns once the member in use has answered since it came into use.

        What may be done only once is not sent to one that may be the very one that was left: its
        connection stands though nobody reads from it.
        """
        if self._proven is member:
            return
        try:
            await self._attempt(member, RANGE, self._probe, deadline_ms)
        except AttemptFailedError as failed:
            raise _nothing_sent(failed) from None

    async def _attempt(
        self,
        member: Member,
        method: EtcdMethod[_Request, _Response],
        request: _Request,
        deadline_ms: int,
    ) -> _Response:
        since = self.history.mark() if method.linearizable else None
        left_ms = max(1, deadline_ms - self._clock.monotonic_ms())
        attempt_ms = min(left_ms, self._settings.attempt_timeout_ms)
        await member.connect(attempt_ms)
        metadata = await self._metadata(member, attempt_ms)
        # Nobody may ask another member for what only one may do, so that one gets all the time.
        timeout_ms = attempt_ms if method.repeatable else left_ms
        response = await member.ask(method, request, timeout_ms=timeout_ms, metadata=metadata)
        self.history.saw(_header(response), since=since)
        if method.linearizable:
            self.answered_ms = self._clock.monotonic_ms()
            if self._members[self._current] is member:
                self._proven = member
        return response

    async def _metadata(self, member: Member, timeout_ms: int) -> Metadata:
        """What goes with every call; logs in where that is due."""
        if self._token is None:
            self._token = await self._logged_in(member, timeout_ms)
        return (_HAS_LEADER, ("token", self._token)) if self._token else (_HAS_LEADER,)

    async def _logged_in(self, member: Member, timeout_ms: int) -> str:
        request = etcd_pb2.AuthenticateRequest(
            name=self._settings.username, password=self._settings.password
        )
        try:
            answer = await member.ask(
                AUTHENTICATE, request, timeout_ms=timeout_ms, metadata=(_HAS_LEADER,)
            )
        except AttemptFailedError as failed:
            if AUTH_NOT_ENABLED in failed.judgement.error.message:
                return ""
            raise _nothing_sent(failed) from None
        return answer.token

    def _check_usable(self) -> None:
        if self._closed:
            raise MetadataStoreUnavailable("the metadata store is closed")
        self.history.check()

    def _forget_token(self, login_count: int, error: Exception) -> None:
        if not self._settings.username:
            raise NotAuthenticated("etcd asks for a user name and a password, and none are set")
        if login_count > _LOGINS_MAX:
            raise NotAuthenticated(f"etcd refuses every token that it gives out ({error})")
        self.forget_token()

    async def _before_next(self, failure_count: int, deadline_ms: int, error: OttlaError) -> None:
        """Waits once every member has failed; raises when no time is left for another try."""
        resume_ms = self._clock.monotonic_ms()
        if failure_count % len(self._members) == 0:
            resume_ms += _BACKOFF.wait_ms(failure_count, self._entropy)
        if resume_ms >= deadline_ms:
            raise MetadataStoreUnavailable(error.message)
        await self._clock.sleep_until(resume_ms)


def _nothing_sent(failed: AttemptFailedError) -> AttemptFailedError:
    """What the failure of a call before the one that counts means for that one."""
    judgement = failed.judgement
    if judgement.verdict is not Verdict.UNKNOWN:
        return failed
    return AttemptFailedError(Judgement(Verdict.ELSEWHERE, judgement.error))


def _header(response: Any) -> etcd_pb2.ResponseHeader:
    """The header that every answer of etcd has."""
    header: etcd_pb2.ResponseHeader = response.header
    return header
