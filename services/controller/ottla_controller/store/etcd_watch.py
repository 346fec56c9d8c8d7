"""Watching keys in etcd: whole revisions in order, none lost, none twice, whatever breaks between.

Owns putting revisions together, and resuming. A stream resumes behind the last revision that was
whole; what had come of the next one is thrown away and sent again. Answers to requested progress
are never asked for: etcd may send them before the events that they claim to follow.

    stream ──fragments──► assembly ──whole revisions──► caller
       └─ breaks ─► a read that only a majority answers ─► stream from the last whole one on
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Final

from ottla.internal.etcd.v1 import etcd_pb2
from ottla.protocol.errors import MetadataStoreUnavailable, NotAuthorized
from ottla_controller.store.etcd_connection import EtcdConnection
from ottla_controller.store.etcd_failures import AttemptFailedError, Verdict, cut_off
from ottla_controller.store.etcd_member import exchanged, received
from ottla_controller.store.etcd_requests import RANGE, WATCH, KeySpace
from ottla_controller.store.interface import (
    CompactedError,
    KeyEvent,
    RevisionEvents,
    StoreRestoredError,
)
from ottla_runtime.channels import Backoff
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy

_BACKOFF: Final = Backoff(first_ms=50, longest_ms=1_000)
_DENIALS_MAX: Final = 2


class RevisionAssembly:
    """Revisions of one watch, out of answers that may hold parts of them. Pure."""

    def __init__(self, keys: KeySpace, *, from_revision: int) -> None:
        self._keys = keys
        self._parts: dict[int, dict[bytes, KeyEvent]] = {}
        self.next_revision = from_revision
        """Everything before it was given out, or is none of this watch's business."""

    def begin(self) -> None:
        """Another stream starts at `next_revision`; parts of the one before are void."""
        self._parts.clear()

    def take(self, answer: etcd_pb2.WatchResponse) -> list[RevisionEvents]:
        """The revisions that an answer completes, in order."""
        for seen in answer.events:
            revision = seen.kv.mod_revision
            if revision >= self.next_revision:
                event = self._keys.event(seen)
                self._parts.setdefault(revision, {})[event.key] = event
        if not (answer.fragment or answer.events or answer.created or self._parts):
            # The server's own sign of life: it was queued behind every event up to its revision.
            self.next_revision = max(self.next_revision, answer.header.revision + 1)
        # More of the last one follows behind a fragment; those before it are whole.
        whole = sorted(self._parts)[:-1] if answer.fragment else sorted(self._parts)
        return [self._given_out(revision) for revision in whole]

    def _given_out(self, revision: int) -> RevisionEvents:
        events = self._parts.pop(revision)
        self.next_revision = revision + 1
        return RevisionEvents(revision, tuple(events[key] for key in sorted(events)))


@dataclass(frozen=True, slots=True)
class EtcdWatches:
    """What watches of one store stand on."""

    connection: EtcdConnection
    keys: KeySpace
    clock: Clock
    entropy: Entropy

    async def revisions(
        self, prefix: bytes, *, from_revision: int
    ) -> AsyncGenerator[RevisionEvents, None]:
        """See `MetadataStore.watch`. Waits for as long as etcd does not answer."""
        assembly = RevisionAssembly(self.keys, from_revision=from_revision)
        failure_count = denial_count = 0
        while True:
            try:
                # A watch would wait without a word for a revision that a restored store lost.
                await self.connection.call(RANGE, self.keys.probe())
                assembly.begin()
                async with self.connection.stream(WATCH) as call:
                    request = self.keys.watch(prefix, from_revision=assembly.next_revision)
                    answer = await exchanged(call, request)
                    while True:
                        self._check(answer)
                        for revision in assembly.take(answer):
                            yield revision
                        failure_count = denial_count = 0
                        answer = await received(call)
            except _DeniedError as denied:
                denial_count += 1
                if denial_count >= _DENIALS_MAX:
                    raise NotAuthorized(str(denied)) from None
                # etcd 3.4 says the same of a token that is no longer valid.
                self.connection.forget_token()
            except AttemptFailedError as failed:
                _raise_final(failed)
                if failed.judgement.verdict is Verdict.LOG_IN:
                    self.connection.forget_token()
            except StoreRestoredError:
                raise
            except MetadataStoreUnavailable:
                pass  # every member was asked; the call has waited between them
            failure_count += 1
            wait_ms = _BACKOFF.wait_ms(failure_count, self.entropy)
            await self.clock.sleep_until(self.clock.monotonic_ms() + wait_ms)

    async def compacted_revision(self, at: int) -> int | None:
        """Up to where history was compacted away, if that is behind `at`.

        etcd tells it to watches alone.
        """
        request = self.keys.watch(b"", from_revision=at)
        try:
            async with self.connection.stream(WATCH) as call:
                answer = await exchanged(call, request)
                while not answer.canceled:
                    answer = await received(call)
        except AttemptFailedError:
            return None
        return answer.compact_revision or None

    def _check(self, answer: etcd_pb2.WatchResponse) -> None:
        self.connection.history.saw(answer.header, since=None)
        if not answer.canceled:
            return
        if answer.compact_revision:
            raise CompactedError(answer.compact_revision)
        if "permission denied" in answer.cancel_reason:
            raise _DeniedError(f"etcd: {answer.cancel_reason}")
        raise cut_off(answer.cancel_reason or "etcd ended the watch")


class _DeniedError(Exception):
    """etcd takes the watch for one that this user may not have."""


def _raise_final(failed: AttemptFailedError) -> None:
    if failed.judgement.verdict is Verdict.FINAL:
        raise failed.judgement.error
