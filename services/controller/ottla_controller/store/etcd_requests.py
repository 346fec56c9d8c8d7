"""The store's calls in etcd's words, and etcd's answers in the store's.

Owns the methods, and the prefix on every key: nothing else knows what keys look like in etcd. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from google.protobuf.message import Message

from ottla.internal.etcd.v1 import etcd_pb2
from ottla_controller.store.interface import (
    Compare,
    CreateRevisionIs,
    KeyEvent,
    KeyValue,
    Operation,
    PutKey,
    prefix_end,
)

_Request = TypeVar("_Request", bound=Message)
_Response = TypeVar("_Response", bound=Message)


@dataclass(frozen=True, slots=True)
class EtcdMethod(Generic[_Request, _Response]):
    """One method of etcd's API."""

    path: str
    request: type[_Request]
    response: type[_Response]
    repeatable: bool = True
    """Whether doing it twice is as good as once."""
    linearizable: bool = False
    """Whether its answer shows everything that was done before it was asked for."""
    streaming: bool = False
    """Whether it is a stream, even where one answer is all that is wanted."""


RANGE: Final = EtcdMethod(
    "/etcdserverpb.KV/Range", etcd_pb2.RangeRequest, etcd_pb2.RangeResponse, linearizable=True
)
TXN: Final = EtcdMethod(
    "/etcdserverpb.KV/Txn",
    etcd_pb2.TxnRequest,
    etcd_pb2.TxnResponse,
    repeatable=False,
    linearizable=True,
)
COMPARE_ONLY: Final = EtcdMethod(
    "/etcdserverpb.KV/Txn", etcd_pb2.TxnRequest, etcd_pb2.TxnResponse, linearizable=True
)
COMPACT: Final = EtcdMethod(
    "/etcdserverpb.KV/Compact",
    etcd_pb2.CompactRequest,
    etcd_pb2.CompactResponse,
    repeatable=False,
)
# A lease whose grant was lost holds no keys, and ends by itself.
LEASE_GRANT: Final = EtcdMethod(
    "/etcdserverpb.Lease/LeaseGrant", etcd_pb2.LeaseGrantRequest, etcd_pb2.LeaseGrantResponse
)
LEASE_REVOKE: Final = EtcdMethod(
    "/etcdserverpb.Lease/LeaseRevoke", etcd_pb2.LeaseRevokeRequest, etcd_pb2.LeaseRevokeResponse
)
LEASE_KEEP_ALIVE: Final = EtcdMethod(
    "/etcdserverpb.Lease/LeaseKeepAlive",
    etcd_pb2.LeaseKeepAliveRequest,
    etcd_pb2.LeaseKeepAliveResponse,
    streaming=True,
)
WATCH: Final = EtcdMethod(
    "/etcdserverpb.Watch/Watch", etcd_pb2.WatchRequest, etcd_pb2.WatchResponse, streaming=True
)
AUTHENTICATE: Final = EtcdMethod(
    "/etcdserverpb.Auth/Authenticate", etcd_pb2.AuthenticateRequest, etcd_pb2.AuthenticateResponse
)
STATUS: Final = EtcdMethod(
    "/etcdserverpb.Maintenance/Status", etcd_pb2.StatusRequest, etcd_pb2.StatusResponse
)

AnyMethod = EtcdMethod[Any, Any]


class KeySpace:
    """The keys below a prefix, which the store's callers never see."""

    def __init__(self, prefix: bytes) -> None:
        assert prefix_end(prefix) is not None, "a prefix has an end"
        self._prefix = prefix

    def probe(self) -> etcd_pb2.RangeRequest:
        """The cheapest read that only a cluster with a majority answers."""
        return etcd_pb2.RangeRequest(key=self._prefix, count_only=True)

    def page(
        self, prefix: bytes, *, after: bytes, limit: int, revision: int | None
    ) -> etcd_pb2.RangeRequest:
        """Some keys in order; at no revision in particular: now."""
        begin = after + b"\0" if after >= prefix else prefix
        return etcd_pb2.RangeRequest(
            key=self._prefix + begin,
            range_end=prefix_end(self._prefix + prefix) or b"",
            limit=limit,
            # 0 would mean now; the first revision is as empty as what was before it.
            revision=0 if revision is None else max(1, revision),
        )

    def item(self, found: etcd_pb2.KeyValue) -> KeyValue:
        """A key that was read."""
        return KeyValue(
            self._stripped(found.key),
            found.value,
            found.create_revision,
            found.mod_revision,
            found.lease,
        )

    def transaction(
        self, compares: Sequence[Compare], operations: Sequence[Operation]
    ) -> etcd_pb2.TxnRequest:
        """All of it or nothing.

        A transaction without operations reads a key, since etcd would else compare with whatever
        the member that is asked happens to have.
        """
        request = etcd_pb2.TxnRequest(
            compare=[self._compare(compare) for compare in compares],
            success=[self._operation(operation) for operation in operations],
        )
        if not operations:
            read = etcd_pb2.RequestOp(request_range=self.probe())
            request.success.append(read)
            request.failure.append(read)
        return request

    def watch(self, prefix: bytes, *, from_revision: int) -> etcd_pb2.WatchRequest:
        """A watch that begins one revision early.

        etcd refuses only what lies before the compacted revision; of that revision itself it has
        forgotten the deletions, and would leave them out without a word.
        """
        return etcd_pb2.WatchRequest(
            create_request=etcd_pb2.WatchCreateRequest(
                key=self._prefix + prefix,
                range_end=prefix_end(self._prefix + prefix) or b"",
                start_revision=max(1, from_revision - 1),
                progress_notify=True,
                fragment=True,
            )
        )

    def event(self, seen: etcd_pb2.Event) -> KeyEvent:
        """A change of a key that was watched."""
        key = self._stripped(seen.kv.key)
        if seen.type == etcd_pb2.Event.TYPE_DELETE:
            return KeyEvent(key, None, 0)
        return KeyEvent(key, seen.kv.value, seen.kv.create_revision)

    def _stripped(self, key: bytes) -> bytes:
        assert key.startswith(self._prefix), "etcd answers for the range that was asked for"
        return key[len(self._prefix) :]

    def _compare(self, compare: Compare) -> etcd_pb2.Compare:
        key = self._prefix + compare.key
        if isinstance(compare, CreateRevisionIs):
            return etcd_pb2.Compare(
                target=etcd_pb2.Compare.COMPARE_TARGET_CREATE,
                key=key,
                create_revision=compare.create_revision,
            )
        return etcd_pb2.Compare(
            target=etcd_pb2.Compare.COMPARE_TARGET_MOD, key=key, mod_revision=compare.mod_revision
        )

    def _operation(self, operation: Operation) -> etcd_pb2.RequestOp:
        key = self._prefix + operation.key
        if isinstance(operation, PutKey):
            put = etcd_pb2.PutRequest(key=key, value=operation.value, lease=operation.lease_id)
            return etcd_pb2.RequestOp(request_put=put)
        return etcd_pb2.RequestOp(request_delete_range=etcd_pb2.DeleteRangeRequest(key=key))
