"""Parsing of requests, with its bounds, where errors of a call are answered.

gRPC parses a request before any interceptor sees it, and answers what it cannot parse with words of
its own. Here a small request is parsed as ever; one that doesn't parse, or is large enough to take
much memory once parsed, reaches the call unparsed, and is counted and parsed in there.

Owns what a request may hold and the memory that parsed requests may take at a time. Does not own
requests that a method takes raw.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final, cast

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import DecodeError, Message

from ottla.protocol.errors import InvalidRequest, Throttled
from ottla_runtime.interceptors.wire_count import ElementCounter

ELEMENT_COUNT_MAX: Final = 120_000
"""Messages and strings inside a request: 30,000 records of three headers each, or as many names."""

FIELD_COUNT_MAX: Final = 400_000
"""Fields that counting looks at in a request before it gives it up."""

STREAMED_SIZE_MAX: Final = (1 << 20) + (4 << 10)
"""Bytes of a request on a stream that is not taken raw: what it carries may be 1 MiB."""

SMALL_SIZE: Final = 8 << 10
PARSED_SIZE_MAX: Final = 256 << 20
"""Bytes that the requests in progress may take once parsed, small ones aside."""

# What a request takes once parsed, at most about: measured with upb on 64 bits.
_BYTE_EXPANSION: Final = 2
_ELEMENT_SIZE: Final = 100
_RETRY_AFTER_MS: Final = 100

Parse = Callable[[Any], Message]


class Unparsed:
    """A request to be parsed inside the call."""

    __slots__ = ("data", "parser")

    def __init__(self, data: bytes, parser: RequestParser) -> None:
        self.data = data
        self.parser = parser


class RequestParser:
    """Parses the requests of one method."""

    def __init__(self, parse: Parse, message_type: type[Message], budget: ParseBudget) -> None:
        self._parse = parse
        self._name = message_type.DESCRIPTOR.name
        self._budget = budget
        self._counter = ElementCounter(cast("Descriptor", message_type.DESCRIPTOR))

    def of_one(self, payload: Any) -> Message | Unparsed:
        """The request of a call that has one: as it is where `held` has something to say of it."""
        if len(payload) <= SMALL_SIZE:
            try:
                return self._parse(payload)
            except DecodeError:
                pass
        return Unparsed(bytes(payload), self)

    def of_many(self, payload: Any) -> Message:
        """A request of a stream. Raises InvalidRequest."""
        if len(payload) > STREAMED_SIZE_MAX:
            raise InvalidRequest(
                f"a {self._name} has at most {STREAMED_SIZE_MAX} bytes, not {len(payload)}"
            )
        return self._parsed(payload if len(payload) <= SMALL_SIZE else self._counted(payload))

    @contextmanager
    def held(self, request: Unparsed) -> Iterator[Message]:
        """The request, parsed; its memory counts while the block lasts.

        Raises:
            InvalidRequest: it can't be parsed, or holds too many elements.
            Throttled: the requests in progress take all the memory they may.
        """
        data = self._counted(request.data)
        size = len(data) * _BYTE_EXPANSION + self._counter.at_most(data) * _ELEMENT_SIZE
        with self._budget.taken(size):
            yield self._parsed(data)

    def _counted(self, payload: Any) -> bytes:
        data = bytes(payload)
        if self._counter.exceeds(data, ELEMENT_COUNT_MAX, field_count_max=FIELD_COUNT_MAX):
            raise InvalidRequest(
                f"the {self._name} holds more than {ELEMENT_COUNT_MAX} elements; send it in parts"
            )
        return data

    def _parsed(self, payload: Any) -> Message:
        try:
            return self._parse(payload)
        except DecodeError:
            raise InvalidRequest(f"the request cannot be parsed as a {self._name}") from None


class ParseBudget:
    """The memory that parsed requests take; one for all methods of a server."""

    def __init__(self, size_max: int = PARSED_SIZE_MAX) -> None:
        self._size_max = size_max
        self.used = 0

    @contextmanager
    def taken(self, size: int) -> Iterator[None]:
        """Count `size` bytes while the block lasts. Raises Throttled where there is no room."""
        if self.used + size > self._size_max:
            raise Throttled(
                "the requests in progress take all the memory they may",
                retry_after_ms=_RETRY_AFTER_MS,
            )
        self.used += size
        try:
            yield
        finally:
            self.used -= size


def parser_of(parse: Parse | None, budget: ParseBudget) -> RequestParser | None:
    """The parser for a method whose requests `parse` makes; None where those are no messages."""
    message_type = getattr(parse, "__self__", None)
    if parse is None or not (isinstance(message_type, type) and issubclass(message_type, Message)):
        return None
    return RequestParser(parse, message_type, budget)
