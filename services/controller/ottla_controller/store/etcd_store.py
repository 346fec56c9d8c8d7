"""The metadata store in etcd: `MetadataStore` over etcd's own gRPC API, for several controllers.

Owns opening and closing, the store's one task, and which part answers what. Members, failover and
logging in are `etcd_connection`; resuming is `etcd_watch`; deadlines of leases are `etcd_leases`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Final, Self

import grpc

from ottla.internal.etcd.v1 import etcd_pb2
from ottla.protocol.errors import InvalidConfig, NotAuthorized, OttlaError
from ottla_controller.setbacks import Setbacks
from ottla_controller.store.etcd_connection import EtcdConnection
from ottla_controller.store.etcd_failures import AnswerTooLargeError
from ottla_controller.store.etcd_leases import LEASE_TTL_MIN_MS, EtcdLeases
from ottla_controller.store.etcd_member import EtcdMember
from ottla_controller.store.etcd_requests import COMPACT, COMPARE_ONLY, RANGE, TXN, KeySpace
from ottla_controller.store.etcd_settings import EtcdSettings, EtcdTls
from ottla_controller.store.etcd_watch import EtcdWatches
from ottla_controller.store.interface import (
    NO_LEASE,
    PAGE_ITEMS_MAX,
    CompactedError,
    Compare,
    LeaseLostError,
    Operation,
    Page,
    PutKey,
    RevisionEvents,
    TransactionResult,
    check_transaction,
)
from ottla_runtime.clock import Clock
from ottla_runtime.entropy import Entropy

PROBE_INTERVAL_MS: Final = 1_000
_RETRY_MS: Final = 200
_COMPACTED_SECONDS: Final = 1.0


class EtcdMetadataStore:
    """Opened with `opened`, used from one event loop; `run` is its one task."""

    def __init__(
        self,
        connection: EtcdConnection,
        settings: EtcdSettings,
        *,
        clock: Clock,
        entropy: Entropy,
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._clock = clock
        self._keys = KeySpace(settings.prefix)
        self._leases = EtcdLeases(connection, self._keys, clock=clock)
        self._watches = EtcdWatches(connection, self._keys, clock, entropy)
        self._setbacks = Setbacks()

    @classmethod
    @asynccontextmanager
    async def opened(
        cls, settings: EtcdSettings, *, clock: Clock, entropy: Entropy
    ) -> AsyncIterator[Self]:
        """The store under the prefix of an etcd cluster that answers; closed with the block.

        Raises:
            InvalidConfig: a file of TLS cannot be read.
            MetadataStoreUnavailable: no majority of the cluster answered in time.
            NotAuthenticated: etcd does not take the user name and password, or wants some.
            NotAuthorized: the user may not read the prefix.
            UnsupportedVersion: what answers is no etcd of version 3.4 or newer.
        """
        credentials = await asyncio.to_thread(_credentials, settings.tls)
        members = tuple(
            EtcdMember(
                endpoint,
                credentials=credentials,
                answer_bytes_max=settings.answer_bytes_max,
                hint=_hint(settings.tls),
            )
            for endpoint in settings.endpoints
        )
        connection = EtcdConnection(members, settings, clock=clock, entropy=entropy)
        store = cls(connection, settings, clock=clock, entropy=entropy)
        try:
            await connection.call(RANGE, store._keys.probe(), timeout_ms=settings.open_timeout_ms)
            try:
                yield store
            finally:
                await store._end_leases()
        finally:
            await connection.close()

    @property
    def kind(self) -> str:
        return "etcd"

    @property
    def store_id(self) -> str:
        return self._connection.history.store_id

    def accept_restored(self) -> None:
        self._leases.forget_all()
        self._connection.history.begin_anew()

    async def run(self) -> None:
        """Ends leases in time, and finds members that fell silent. Runs until cancelled."""
        while True:
            deadline_ms = self._clock.monotonic_ms() + PROBE_INTERVAL_MS
            next_ms = self._leases.next_deadline_ms()
            await self._clock.sleep_until(min(deadline_ms, next_ms or deadline_ms))
            try:
                await self._leases.end_lost()
                silent_ms = self._clock.monotonic_ms() - self._connection.answered_ms
                if silent_ms >= PROBE_INTERVAL_MS:
                    await self._connection.call(RANGE, self._keys.probe())
                self._setbacks.over()
            except OttlaError as error:
                # Whoever needs the store hears of it; a wrong password may be put right meanwhile.
                self._setbacks.met("metadata_store.failed", str(error))
                await self._clock.sleep_until(self._clock.monotonic_ms() + _RETRY_MS)

    async def read(
        self, prefix: bytes, *, after: bytes = b"", limit: int = 1_000, revision: int | None = None
    ) -> Page:
        assert 1 <= limit <= PAGE_ITEMS_MAX
        await self._leases.end_lost()
        request = self._keys.page(prefix, after=after, limit=limit, revision=revision)
        found = await self._page(request)
        items = tuple(self._keys.item(each) for each in found.kvs)
        return Page(items, found.header.revision if revision is None else revision, found.more)

    async def transact(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> TransactionResult:
        check_transaction(compares, operations)
        leases = {each.lease_id for each in operations if isinstance(each, PutKey)} - {NO_LEASE}
        for lease_id in leases:
            self._leases.check(lease_id)
        await self._leases.end_lost()
        method = TXN if operations else COMPARE_ONLY
        try:
            done = await self._connection.call(method, self._keys.transaction(compares, operations))
        except LeaseLostError:
            if len(leases) == 1:
                self._leases.forget(*leases)
            raise
        return TransactionResult(done.succeeded, done.header.revision)

    @asynccontextmanager
    async def watch(
        self, prefix: bytes, *, from_revision: int
    ) -> AsyncIterator[AsyncIterator[RevisionEvents]]:
        watched = self._watches.revisions(prefix, from_revision=from_revision)
        async with aclosing(watched) as revisions:
            yield revisions

    async def grant_lease(self, ttl_ms: int) -> int:
        assert ttl_ms >= LEASE_TTL_MIN_MS
        await self._leases.end_lost()
        return await self._leases.grant(ttl_ms)

    async def keep_lease_alive(self, lease_id: int) -> None:
        await self._leases.keep_alive(lease_id)

    async def revoke_lease(self, lease_id: int) -> None:
        await self._leases.end_lost()
        await self._leases.revoke(lease_id)

    async def compact(self, revision: int) -> None:
        await self._leases.end_lost()
        try:
            await self._connection.call(COMPACT, etcd_pb2.CompactRequest(revision=revision))
        except CompactedError:
            raise CompactedError(await self._compacted_revision(revision)) from None
        except NotAuthorized as error:
            raise NotAuthorized(
                "this etcd lets only users with the root role compact its history; have it compact "
                "by itself (--auto-compaction-retention)"
            ) from error

    async def _page(self, request: etcd_pb2.RangeRequest) -> etcd_pb2.RangeResponse:
        """What was asked for, or as much of it as fits into an answer."""
        while True:
            try:
                return await self._connection.call(RANGE, request)
            except AnswerTooLargeError:
                if request.limit == 1:
                    raise
                request.limit = max(1, request.limit // 4)
            except CompactedError:
                raise CompactedError(await self._compacted_revision(request.revision)) from None

    async def _compacted_revision(self, at: int) -> int:
        """Up to where history was compacted away: at least to `at`, which etcd has just said."""
        try:
            async with asyncio.timeout(_COMPACTED_SECONDS):
                return await self._watches.compacted_revision(at) or at
        except TimeoutError:
            return at

    async def _end_leases(self) -> None:
        """Lets go of what hangs on this process; where etcd does not answer, time does it."""
        try:
            await self._leases.end_all()
        except OttlaError as error:
            self._setbacks.met("metadata_store.leases_not_ended", str(error))


def _credentials(tls: EtcdTls | None) -> grpc.ChannelCredentials | None:
    """Reads the files of TLS; blocks."""
    if tls is None:
        return None
    try:
        ca, key, cert = map(_pem, (tls.ca_path, tls.key_path, tls.cert_path))
    except OSError as error:
        raise InvalidConfig(
            f"cannot read {error.filename} for etcd's TLS: {error.strerror}"
        ) from error
    return grpc.ssl_channel_credentials(ca, key, cert)


def _hint(tls: EtcdTls | None) -> str:
    """What may be missing where etcd ends connections at once."""
    if tls is None:
        return "if this etcd wants TLS, write https:// in front of its addresses"
    return "" if tls.cert_path else "if this etcd asks for a client certificate, give one"


def _pem(path: Path | None) -> bytes | None:
    if path is None:
        return None
    content = path.read_bytes()
    if b"-----BEGIN " not in content:
        raise InvalidConfig(f"{path} for etcd's TLS is not in PEM format")
    return content
