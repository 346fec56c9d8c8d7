"""The one table of errors: a class for each reason, with its gRPC status and what a client does.

Owns: `OttlaError`, its subclasses and `StatusCode`. Clients and services decide on the class or
its `reason`, never on text. Does not own how errors travel: `ottla.protocol.error_details` turns
them into protobuf and back. Free of gRPC, so that pure cores can raise them.
"""
# ruff: noqa: N818 - the classes are named for their reasons: `except NotLeader` reads as it is meant

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import IntEnum
from types import MappingProxyType
from typing import Any, Final, NamedTuple

LEADER_KEYS: Final = ("leader_id", "leader_host", "leader_port", "leader_epoch")
OWNER_KEYS: Final = ("owner_host", "owner_port")


_PARTITION_DIGITS_MAX = 10


class StatusCode(IntEnum):
    """gRPC's status codes by name and number, without needing grpc."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class FieldError(NamedTuple):
    """One field of a request that is wrong, by its path (`topics[0].name`), and why."""

    field: str
    description: str


class OttlaError(Exception):
    """Everything raised on purpose; subclasses are one a reason.

    Attributes of the class: `reason` is the stable word that programs decide on; `status` the gRPC
    status a call fails with; `retriable` whether the same call may succeed later (within its
    deadline); `refresh_metadata` whether the caller's view is out of date and must be read again
    first; `metadata_keys` the details the reason carries beside `topic` and `partition`.
    """

    reason: str = "INTERNAL"
    status: StatusCode = StatusCode.INTERNAL
    retriable: bool = False
    refresh_metadata: bool = False
    metadata_keys: tuple[str, ...] = ()

    def __init_subclass__(
        cls,
        *,
        reason: str | None = None,
        status: StatusCode | None = None,
        retriable: bool = False,
        refresh_metadata: bool = False,
        metadata_keys: tuple[str, ...] = (),
    ) -> None:
        """Enters the class into the table; one without a reason keeps its base's."""
        super().__init_subclass__()
        if reason is None:
            return
        if status is None or reason in _CLASSES:
            raise TypeError(f"{cls.__name__}: reason {reason} needs a status and one class")
        cls.reason, cls.status = reason, status
        cls.retriable, cls.refresh_metadata = retriable, refresh_metadata
        cls.metadata_keys = metadata_keys
        _CLASSES[reason] = cls

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, object] | None = None,
        retry_after_ms: int | None = None,
        field_errors: Iterable[FieldError] = (),
    ) -> None:
        """Keeps the details, metadata values as text.

        Args:
            message: for people: what went wrong and what to do.
            metadata: details for programs, named as in `metadata_keys`.
            retry_after_ms: how long to wait before the next try, where that is known.
            field_errors: the request's fields at fault; travels with failed calls alone.
        """
        super().__init__(message)
        self.message = message
        self.metadata: Mapping[str, str] = MappingProxyType(
            {key: str(value) for key, value in (metadata or {}).items()}
        )
        self.retry_after_ms = retry_after_ms
        self.field_errors = tuple(field_errors)

    def __reduce__(self) -> tuple[object, ...]:
        """Copied and pickled whole, as worker processes do, however its class is made."""
        return _again, (type(self), self.args, self.__dict__ | {"metadata": dict(self.metadata)})

    @property
    def topic(self) -> str | None:
        """The topic it is about, where there is one."""
        return self.metadata.get("topic")

    @property
    def partition(self) -> int | None:
        """The partition it is about, where there is one and it is a number."""
        text = self.metadata.get("partition", "")
        is_number = text.isascii() and text.isdecimal() and len(text) <= _PARTITION_DIGITS_MAX
        return int(text) if is_number else None


_CLASSES: dict[str, type[OttlaError]] = {}


def _again(
    kind: type[OttlaError], args: tuple[object, ...], details: Mapping[str, Any]
) -> OttlaError:
    error = kind.__new__(kind, *args)
    error.__dict__.update(details, metadata=MappingProxyType(details["metadata"]))
    return error


def error_class(reason: str) -> type[OttlaError]:
    """The class of a reason; `UnknownReason` for one that this version does not know."""
    return _CLASSES.get(reason, UnknownReason)


def error_classes() -> Mapping[str, type[OttlaError]]:
    """The table: every reason with its class, in the order of the table's source."""
    return MappingProxyType(_CLASSES)


class UnknownReason(OttlaError):
    """A reason that a newer server knows and this version does not; its status decides.

    `reason` and `status` are those received; UNAVAILABLE and ABORTED are retriable, after a look
    at fresh metadata, as gRPC means these codes.
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "UNSPECIFIED",
        status: StatusCode = StatusCode.UNKNOWN,
        metadata: Mapping[str, object] | None = None,
        retry_after_ms: int | None = None,
        field_errors: Iterable[FieldError] = (),
    ) -> None:
        """Takes over what was received; the rest is as with every error."""
        super().__init__(
            message, metadata=metadata, retry_after_ms=retry_after_ms, field_errors=field_errors
        )
        self.reason = reason
        self.status = status
        self.retriable = status in {StatusCode.UNAVAILABLE, StatusCode.ABORTED}
        self.refresh_metadata = self.retriable


class InvalidRequest(OttlaError, reason="INVALID_REQUEST", status=StatusCode.INVALID_ARGUMENT):
    """The request contradicts its own contract; `field_errors` says where."""


class InvalidTopic(OttlaError, reason="INVALID_TOPIC", status=StatusCode.INVALID_ARGUMENT):
    """The topic's name is not allowed."""


class InvalidConfig(OttlaError, reason="INVALID_CONFIG", status=StatusCode.INVALID_ARGUMENT):
    """A setting is unknown or its value is not allowed."""


class RecordTooLarge(OttlaError, reason="RECORD_TOO_LARGE", status=StatusCode.INVALID_ARGUMENT):
    """A record, batch or request exceeds its limit, also once decompressed."""


class CorruptBatch(OttlaError, reason="CORRUPT_BATCH", status=StatusCode.INVALID_ARGUMENT):
    """A batch as sent fails a checksum or cannot be decoded."""


class UnknownTopicOrPartition(
    OttlaError,
    reason="UNKNOWN_TOPIC_OR_PARTITION",
    status=StatusCode.NOT_FOUND,
    retriable=True,
    refresh_metadata=True,
):
    """No such topic or partition, as far as the answering broker knows."""


class TopicExists(OttlaError, reason="TOPIC_EXISTS", status=StatusCode.ALREADY_EXISTS):
    """A topic of that name exists and differs from the one asked for."""


class OffsetOutOfRange(
    OttlaError,
    reason="OFFSET_OUT_OF_RANGE",
    status=StatusCode.OUT_OF_RANGE,
    metadata_keys=("earliest_offset", "latest_offset"),
):
    """The offset lies outside of what the partition holds; the reset policy decides."""


class NotLeader(
    OttlaError,
    reason="NOT_LEADER",
    status=StatusCode.ABORTED,
    retriable=True,
    refresh_metadata=True,
    metadata_keys=LEADER_KEYS,
):
    """Another broker leads the partition."""


class StaleLeaderEpoch(
    OttlaError,
    reason="STALE_LEADER_EPOCH",
    status=StatusCode.ABORTED,
    retriable=True,
    refresh_metadata=True,
    metadata_keys=LEADER_KEYS,
):
    """The caller's leader epoch is not the current one."""


class NotCoordinator(
    OttlaError,
    reason="NOT_COORDINATOR",
    status=StatusCode.ABORTED,
    retriable=True,
    refresh_metadata=True,
    metadata_keys=OWNER_KEYS,
):
    """Another coordinator owns the group."""


class NotController(
    OttlaError,
    reason="NOT_CONTROLLER",
    status=StatusCode.ABORTED,
    retriable=True,
    refresh_metadata=True,
    metadata_keys=OWNER_KEYS,
):
    """Another controller is active."""


class RebalanceInProgress(
    OttlaError, reason="REBALANCE_IN_PROGRESS", status=StatusCode.ABORTED, retriable=True
):
    """The group is moving partitions; take the new epoch and retry."""


class StaleMemberEpoch(
    OttlaError,
    reason="STALE_MEMBER_EPOCH",
    status=StatusCode.ABORTED,
    retriable=True,
    metadata_keys=("member_epoch",),
):
    """The member's epoch is behind; take the new one and retry."""


class UnknownMember(OttlaError, reason="UNKNOWN_MEMBER", status=StatusCode.FAILED_PRECONDITION):
    """The group does not know the member."""


class FencedMember(OttlaError, reason="FENCED_MEMBER", status=StatusCode.FAILED_PRECONDITION):
    """The member was fenced and has to join afresh."""


class FencedProducer(OttlaError, reason="FENCED_PRODUCER", status=StatusCode.FAILED_PRECONDITION):
    """A newer incarnation of the producer exists."""


class OutOfOrderSequence(
    OttlaError, reason="OUT_OF_ORDER_SEQUENCE", status=StatusCode.FAILED_PRECONDITION
):
    """The batch's sequence is not the next one of its producer."""


class InvalidTxnState(
    OttlaError, reason="INVALID_TXN_STATE", status=StatusCode.FAILED_PRECONDITION
):
    """The transaction is not in a state that allows this."""


class LeaderNotAvailable(
    OttlaError,
    reason="LEADER_NOT_AVAILABLE",
    status=StatusCode.UNAVAILABLE,
    retriable=True,
    refresh_metadata=True,
):
    """The partition has no leader at the moment, or its leader is not ready."""


class CoordinatorLoading(
    OttlaError, reason="COORDINATOR_LOADING", status=StatusCode.UNAVAILABLE, retriable=True
):
    """The coordinator is still reading its state."""


class NotEnoughReplicas(
    OttlaError, reason="NOT_ENOUGH_REPLICAS", status=StatusCode.UNAVAILABLE, retriable=True
):
    """Fewer in-sync replicas than the topic demands; nothing was appended."""


class StorageOffline(
    OttlaError,
    reason="STORAGE_OFFLINE",
    status=StatusCode.UNAVAILABLE,
    retriable=True,
    refresh_metadata=True,
):
    """The log directory of the partition failed and is offline."""


class Draining(
    OttlaError,
    reason="DRAINING",
    status=StatusCode.UNAVAILABLE,
    retriable=True,
    refresh_metadata=True,
):
    """The service is shutting down; its partitions move elsewhere."""


class MetadataStoreUnavailable(
    OttlaError, reason="METADATA_STORE_UNAVAILABLE", status=StatusCode.UNAVAILABLE, retriable=True
):
    """The metadata store does not answer; reads go on, writes wait."""


class Throttled(
    OttlaError, reason="THROTTLED", status=StatusCode.RESOURCE_EXHAUSTED, retriable=True
):
    """Over a quota or rate; wait `retry_after_ms`."""


class TooManyConnections(
    OttlaError, reason="TOO_MANY_CONNECTIONS", status=StatusCode.RESOURCE_EXHAUSTED, retriable=True
):
    """The service has all the connections or streams it takes; wait `retry_after_ms`."""


class StorageFull(
    OttlaError, reason="STORAGE_FULL", status=StatusCode.RESOURCE_EXHAUSTED, retriable=True
):
    """The disk is full; nothing was appended, reads go on."""


class BufferFull(
    OttlaError, reason="BUFFER_FULL", status=StatusCode.RESOURCE_EXHAUSTED, retriable=True
):
    """The producer's buffer stayed full for `max_block_ms`; never on the wire."""


class StaleControllerEpoch(
    OttlaError, reason="STALE_CONTROLLER_EPOCH", status=StatusCode.ABORTED, refresh_metadata=True
):
    """A controller that is no longer the active one spoke."""


class StaleBrokerEpoch(
    OttlaError, reason="STALE_BROKER_EPOCH", status=StatusCode.ABORTED, refresh_metadata=True
):
    """A broker spoke with the epoch of an earlier registration."""


class IneligibleReplica(
    OttlaError, reason="INELIGIBLE_REPLICA", status=StatusCode.ABORTED, refresh_metadata=True
):
    """The replica may not join the in-sync set."""


class VersionConflict(OttlaError, reason="VERSION_CONFLICT", status=StatusCode.ABORTED):
    """What should be altered changed meanwhile; read again, then decide."""


class UnknownGroup(OttlaError, reason="UNKNOWN_GROUP", status=StatusCode.NOT_FOUND):
    """No such group."""


class GroupNotEmpty(OttlaError, reason="GROUP_NOT_EMPTY", status=StatusCode.FAILED_PRECONDITION):
    """The group still has members."""


class ClusterMismatch(OttlaError, reason="CLUSTER_MISMATCH", status=StatusCode.FAILED_PRECONDITION):
    """The data directory or the caller belongs to another cluster."""


class DuplicateNodeId(
    OttlaError, reason="DUPLICATE_NODE_ID", status=StatusCode.FAILED_PRECONDITION
):
    """Another live service uses this node id."""


class AcksTimedOut(
    OttlaError, reason="ACKS_TIMED_OUT", status=StatusCode.DEADLINE_EXCEEDED, retriable=True
):
    """Appended, but not acknowledged by enough replicas in time; may yet commit."""


class OutcomeUnknown(
    OttlaError, reason="OUTCOME_UNKNOWN", status=StatusCode.DEADLINE_EXCEEDED, retriable=True
):
    """It is not known whether the write happened; a retry may duplicate it."""


class ConditionFailed(
    OttlaError,
    reason="CONDITION_FAILED",
    status=StatusCode.FAILED_PRECONDITION,
    metadata_keys=("log_end_offset",),
):
    """`expected_next_offset` does not hold."""


class LogTruncated(
    OttlaError,
    reason="LOG_TRUNCATED",
    status=StatusCode.ABORTED,
    metadata_keys=("divergence_epoch", "divergence_offset"),
):
    """The log no longer holds what the caller read; resume at the divergence point."""


class NotAvailableHere(
    OttlaError,
    reason="NOT_AVAILABLE_HERE",
    status=StatusCode.ABORTED,
    retriable=True,
    refresh_metadata=True,
    metadata_keys=LEADER_KEYS,
):
    """This follower cannot serve it; the leader can."""


class UnstableOffset(
    OttlaError, reason="UNSTABLE_OFFSET", status=StatusCode.UNAVAILABLE, retriable=True
):
    """Offsets of an open transaction are pending."""


class UnsupportedVersion(OttlaError, reason="UNSUPPORTED_VERSION", status=StatusCode.UNIMPLEMENTED):
    """The server does not know the operation, the field or the format version."""


class NotAuthenticated(OttlaError, reason="NOT_AUTHENTICATED", status=StatusCode.UNAUTHENTICATED):
    """The caller did not prove who it is."""


class NotAuthorized(OttlaError, reason="NOT_AUTHORIZED", status=StatusCode.PERMISSION_DENIED):
    """The caller may not do this."""


class CorruptLog(OttlaError, reason="CORRUPT_LOG", status=StatusCode.DATA_LOSS):
    """Data on disk fails its checksum below the recovery point; an operator must act."""


class Internal(OttlaError, reason="INTERNAL", status=StatusCode.INTERNAL):
    """Something unplanned; the message carries an incident id that the server's log explains."""
