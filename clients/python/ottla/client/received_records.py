"""Records on their way to the application: deserialized, seen by interceptors, handed out.

Owns deserializers and the run of records that is decoded and not handed out yet. Handing out keeps
no books: what is left of the run tells where the application is. A record that can't be
deserialized is an error in its place, and costs no other record.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from operator import length_hint
from typing import Generic, Protocol, TypeVar, cast

from ottla.client.core.positions import TopicPartition
from ottla.client.core.record_columns import ConsumerRecord, RawRecord
from ottla.protocol.errors import InvalidRequest

K = TypeVar("K")
V = TypeVar("V")
T_co = TypeVar("T_co", covariant=True)


class Deserializer(Protocol[T_co]):
    """Turns bytes into an application's value: any function of one argument will do."""

    def __call__(self, data: bytes, /) -> T_co:
        """The value; whatever it raises reaches who reads as InvalidRequest, in the record's place.

        Reading on goes on with the next record.
        """
        ...


class ConsumerInterceptor(Protocol):
    """Sees records before the application does."""

    def on_records(self, records: Sequence[RawRecord]) -> Sequence[RawRecord]:
        """The records to hand on in their place; they are of one partition.

        What it raises reaches who reads; the next read shows it the same records again.
        """
        ...


class Reception(Generic[K, V]):
    """What one consumer does to records, and those it has not handed out yet."""

    def __init__(
        self,
        *,
        key_deserializer: Deserializer[K] | None,
        value_deserializer: Deserializer[V] | None,
        interceptors: Sequence[ConsumerInterceptor],
    ) -> None:
        self._key = key_deserializer
        self._value = value_deserializer
        self._interceptors = interceptors
        self._unseen: list[RawRecord] = []
        """A run that the interceptors have not let through: what one of them raised was told."""
        self._raw: list[RawRecord] = []
        """What comes behind the run, from a record on that can't be deserialized."""
        self._run: list[ConsumerRecord[K, V]] = []
        self.left: Iterator[ConsumerRecord[K, V]] = iter(self._run)
        """What is to be handed out next."""
        self._held: list[list[ConsumerRecord[K, V]]] = []
        """What was taken by those who wait for more."""

    def receive(self, records: list[RawRecord]) -> None:
        """Take a run over, behind nothing: the one before is handed out.

        Raises:
            InvalidRequest: the first record can't be deserialized; those behind it can be read on.
            Exception: what an interceptor raises, which sees the run again before others come.
        """
        self._unseen = records
        self._let_through()

    def _let_through(self) -> None:
        records = self._unseen
        for interceptor in self._interceptors:
            records = list(interceptor.on_records(records))
        self._unseen = []
        if self._key is None and self._value is None:
            self._replace(cast("list[ConsumerRecord[K, V]]", records))
        else:
            self._raw = records
            self.go_on()

    def go_on(self) -> bool:
        """Hand out what stands behind a record that failed; False if there is nothing.

        Raises:
            InvalidRequest: the next one fails too; every record that does is told of once.
            Exception: as `receive`.
        """
        if self._unseen:
            self._let_through()
            return self.has_some()
        raw, self._raw = self._raw, []
        run: list[ConsumerRecord[K, V]] = []
        for index, record in enumerate(raw):
            try:
                run.append(self._deserialized(record))
            except InvalidRequest:
                if not run:
                    self._raw = raw[1:]
                    raise
                self._raw = raw[index:]  # told of when its turn comes
                break
        self._replace(run)
        return bool(run)

    def _replace(self, run: list[ConsumerRecord[K, V]]) -> None:
        self._run = run
        self.left = iter(run)

    def has_some(self) -> bool:
        """Whether anything is left to hand out."""
        return length_hint(self.left) > 0

    def take(self, count: int) -> list[ConsumerRecord[K, V]]:
        """Hand out up to so many records."""
        if length_hint(self.left) == len(self._run) <= count:
            run = self._run
            self._replace([])
            return run
        return list(islice(self.left, count))

    @contextmanager
    def holding(self, records: list[ConsumerRecord[K, V]]) -> Iterator[None]:
        """While the block lasts, `drop` takes its own out of what was taken, too."""
        self._held.append(records)
        try:
            yield
        finally:
            self._held = [each for each in self._held if each is not records]

    def put_back(self, records: list[ConsumerRecord[K, V]]) -> None:
        """What was taken was not handed out after all."""
        self._replace([*records, *self.left])

    def next_offsets(self) -> dict[TopicPartition, int]:
        """Offset of the first record that is not handed out, of each partition that has one."""
        found: dict[TopicPartition, int] = {}
        for topic, partition, offset, *_ in chain(self._remaining(), self._raw, self._unseen):
            found.setdefault(TopicPartition(topic, partition), offset)
        return found

    def drop(self, places: Container[tuple[str, int]]) -> None:
        """Hand out nothing more of these partitions."""
        self._replace([each for each in self._remaining() if each[:2] not in places])
        self._raw = [each for each in self._raw if each[:2] not in places]
        self._unseen = [each for each in self._unseen if each[:2] not in places]
        for held in self._held:
            held[:] = [each for each in held if each[:2] not in places]

    def _remaining(self) -> list[ConsumerRecord[K, V]]:
        return self._run[len(self._run) - length_hint(self.left) :]

    def _deserialized(self, record: RawRecord) -> ConsumerRecord[K, V]:
        topic, partition, offset, timestamp_ms, key, value, headers = record
        return ConsumerRecord(
            topic,
            partition,
            offset,
            timestamp_ms,
            _read(key, self._key, record, "key"),
            _read(value, self._value, record, "value"),
            headers,
        )


_Read = TypeVar("_Read")


def _read(
    data: bytes | None, deserializer: Callable[[bytes], _Read] | None, record: RawRecord, what: str
) -> _Read | None:
    if data is None:
        return None
    if deserializer is None:
        return cast("_Read", data)
    try:
        return deserializer(data)
    except Exception as error:  # an application's code: whatever it raises is about this record
        raise InvalidRequest(
            f"the {what} of {record.topic}-{record.partition} at offset {record.offset} "
            f"can't be deserialized: {error}",
            metadata={
                "topic": record.topic,
                "partition": record.partition,
                "offset": record.offset,
            },
        ) from error
