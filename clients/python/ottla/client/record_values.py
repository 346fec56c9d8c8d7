"""What applications hand to a producer, turned into bytes and checked, one record at a time.

Owns serializers, the checks of keys, values, headers and times, and interceptors' view of a record.
Errors come before anything is queued, so that a batch never fails for one bad record in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple, Protocol, TypeVar

from ottla.client.core.outgoing_batch import RECORD_OVERHEAD
from ottla.client.deliveries import Receipt
from ottla.protocol.errors import InvalidRequest, OttlaError
from ottla.protocol.records import TIMESTAMP_MS_MAX, Headers

T_contra = TypeVar("T_contra", contravariant=True)

HEADERS_MAX: Final = 1_000


class Serializer(Protocol[T_contra]):
    """Turns an application's value into bytes: any function of one argument will do."""

    def __call__(self, value: T_contra, /) -> bytes:
        """The bytes; whatever it raises reaches the caller of `send` as InvalidRequest."""
        ...


class PreparedRecord(NamedTuple):
    """A record on its way through interceptors, serialized already."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers
    partition: int | None
    timestamp_ms: int


class ProducerInterceptor(Protocol):
    """Sees every record before it is queued, and what became of it."""

    def on_send(self, record: PreparedRecord) -> PreparedRecord:
        """The record to queue in its place; raising refuses it."""
        ...

    def on_done(
        self, topic: str, partition: int, *, first: Receipt | None, error: OttlaError | None
    ) -> None:
        """A batch was acknowledged, from the record of `first` on, or failed."""
        ...


class Preparation:
    """What one producer does to each record that isn't plain bytes already."""

    def __init__(
        self,
        *,
        key_serializer: Serializer[object] | None,
        value_serializer: Serializer[object] | None,
        interceptors: Sequence[ProducerInterceptor],
    ) -> None:
        self._key_serializer = key_serializer
        self._value_serializer = value_serializer
        self._interceptors = interceptors

    @property
    def is_custom(self) -> bool:
        """Whether every record has to come through here."""
        return bool(self._key_serializer or self._value_serializer or self._interceptors)

    def prepare(
        self,
        topic: str,
        key: object,
        value: object,
        headers: Iterable[object],
        *,
        partition: int | None,
        timestamp_ms: int,
    ) -> PreparedRecord:
        """The record as it is queued. Raises InvalidRequest, or what an interceptor raises."""
        record = PreparedRecord(
            topic,
            serialized(key, self._key_serializer, "key"),
            serialized(value, self._value_serializer, "value"),
            checked_headers(headers),
            partition,
            timestamp_ms,
        )
        for interceptor in self._interceptors:
            record = _checked(interceptor.on_send(record))
        return record


def _checked(record: object) -> PreparedRecord:
    """What an interceptor made of a record, if it can be queued. Raises InvalidRequest."""
    if not isinstance(record, PreparedRecord):
        raise InvalidRequest(f"an interceptor made {type(record).__name__} of a PreparedRecord")
    topic, key, value, headers, partition, timestamp_ms = record
    return PreparedRecord(
        topic,
        serialized(key, None, "key"),
        serialized(value, None, "value"),
        checked_headers(headers),
        partition,
        checked_time(timestamp_ms),
    )


def serialized(value: object, serializer: Serializer[object] | None, what: str) -> bytes | None:
    """The value's bytes; None stays None.

    Raises:
        InvalidRequest: there are none: no serializer, or it failed.
    """
    if value is None:
        return None
    if serializer is not None:
        try:
            value = serializer(value)
        except Exception as error:  # an application's code: whatever it raises is about its value
            raise InvalidRequest(f"the record's {what} can't be serialized: {error}") from error
    if isinstance(value, bytes):
        return value
    if isinstance(value, bytearray | memoryview):
        return bytes(value)
    raise InvalidRequest(
        f"the record's {what} is {type(value).__name__}, not bytes; give a {what}_serializer"
    )


def checked_headers(headers: Iterable[object]) -> Headers:
    """The headers as pairs that can be encoded. Raises InvalidRequest."""
    checked: list[tuple[str, bytes | None]] = []
    for header in headers:
        if not isinstance(header, tuple | list) or len(header) != 2:
            raise InvalidRequest(f"a header is a pair of name and value, not {header!r:.64}")
        name, value = header
        if not isinstance(name, str) or not isinstance(value, bytes | None):
            raise InvalidRequest(f"the header {name!r:.64} must be a str with bytes or None")
        try:
            name.encode()
        except UnicodeEncodeError:
            raise InvalidRequest(f"the header's name {name!r:.64} is not Unicode") from None
        checked.append((name, value))
    if len(checked) > HEADERS_MAX:
        raise InvalidRequest(f"{len(checked)} headers are more than {HEADERS_MAX}")
    return tuple(checked)


def checked_time(timestamp_ms: object) -> int:
    """The time, if a record can have it. Raises InvalidRequest."""
    if not isinstance(timestamp_ms, int) or not 0 <= timestamp_ms <= TIMESTAMP_MS_MAX:
        raise InvalidRequest(f"timestamp_ms={timestamp_ms!r} is no time in ms since 1970")
    return timestamp_ms


def plain_size(values: Sequence[bytes]) -> int:
    """Upper bound of what values without keys and headers take in a batch."""
    return sum(map(len, values)) + RECORD_OVERHEAD * len(values)
