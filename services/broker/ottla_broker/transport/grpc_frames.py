"""gRPC's length-prefixed messages, put together from pieces and announced for sending. Pure.

```
 1 byte: compressed | 4 bytes: size, big endian | size bytes of message
```
The buffer of a message grows with the bytes that arrive, never with the size announced: half a
message costs a client as much as it costs us. Whoever receives a payload owns it.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable

from ottla_broker.transport.message_buffers import MessageBuffers
from ottla_broker.transport.stream import InboundMessage, MalformedMessage, MessageTooLarge

PREFIX = struct.Struct(">BI")
PREFIX_SIZE = PREFIX.size
# The largest message the prefix has room for.
MESSAGE_SIZE_LIMIT = 2**32 - 1
# First buffer of a message that has not arrived whole, and the factor it grows by.
_FIRST_CAPACITY = 64 * 1024
_GROWTH = 4

Reserve = Callable[[int], bool]


class OutOfMemoryBudget(Exception):  # noqa: N818 - reads as the condition it is
    """No room in the byte budget for the bytes that have arrived."""


class MessageAssembler:
    """Puts the messages of one stream together; whole ones wait in `messages`.

    `held_size` counts the bytes it has reserved for the buffer being filled and the messages
    waiting; taking a message hands its reservation over to the caller of `take`.
    """

    __slots__ = (
        "_buffer",
        "_buffers",
        "_capacity",
        "_compressed",
        "_filled",
        "_message_size",
        "_prefix",
        "_reserve",
        "_size_max",
        "_view",
        "held_size",
        "messages",
        "refused",
    )

    def __init__(
        self, *, size_max: int, reserve: Reserve, buffers: MessageBuffers | None = None
    ) -> None:
        self.messages: deque[InboundMessage] = deque()
        self.refused: MessageTooLarge | MalformedMessage | None = None
        self.held_size = 0
        self._size_max = size_max
        self._reserve = reserve
        self._buffers = buffers or MessageBuffers()
        self._prefix = b""
        self._compressed = False
        self._message_size = -1
        self._filled = 0
        self._capacity = 0
        self._buffer = bytearray()
        self._view = memoryview(self._buffer)

    @property
    def inside_message(self) -> bool:
        """A message has begun and is not whole."""
        return self._message_size >= 0 or bool(self._prefix)

    def feed(self, data: memoryview) -> None:
        """Take the next bytes of the stream.

        After a message that is too large or malformed everything is dropped; `refused` says why.

        Raises:
            OutOfMemoryBudget: the bytes do not fit; the stream cannot go on.
        """
        position, end = 0, len(data)
        while position < end and self.refused is None:
            if self._message_size < 0:
                position = self._feed_prefix(data, position)
                continue
            size = self._message_size
            count = min(size - self._filled, end - position)
            if count == size:
                # The whole message lies in one piece: one copy, no growing buffer.
                self._hold(size)
                self._complete(memoryview(bytes(data[position : position + size])))
            else:
                self._fit(self._filled + count)
                self._view[self._filled : self._filled + count] = data[position : position + count]
                self._advance(count)
            position += count

    def room(self) -> memoryview | None:
        """Where the next bytes of a large message may be received directly; None to `feed`.

        Raises:
            OutOfMemoryBudget: the message's buffer cannot grow.
        """
        if self._message_size < _FIRST_CAPACITY // 4 or not self._filled:
            return None
        if self._filled == self._capacity:
            self._fit(self._filled + 1)
        return self._view[self._filled : self._capacity]

    def received(self, size: int) -> None:
        """Count bytes put into `room`."""
        self._advance(size)

    def take(self) -> InboundMessage:
        """The oldest whole message; its bytes are no longer counted as held."""
        message = self.messages.popleft()
        self.held_size -= len(message.payload)
        return message

    def drop(self) -> int:
        """Forget everything; returns how many reserved bytes that frees."""
        self.messages.clear()
        freed, self.held_size = self.held_size, 0
        self._forget_buffer()
        return freed

    def _feed_prefix(self, data: memoryview, position: int) -> int:
        if not self._prefix and len(data) - position >= PREFIX_SIZE:
            compressed, size = PREFIX.unpack_from(data, position)
            position += PREFIX_SIZE
        else:
            piece = data[position : position + PREFIX_SIZE - len(self._prefix)]
            self._prefix += bytes(piece)
            position += len(piece)
            if len(self._prefix) < PREFIX_SIZE:
                return position
            compressed, size = PREFIX.unpack(self._prefix)
            self._prefix = b""
        if compressed > 1:
            self.refused = MalformedMessage(f"compressed flag of a message is {compressed}")
        elif size > self._size_max:
            self.refused = MessageTooLarge(size=size, limit=self._size_max)
        else:
            self._compressed = bool(compressed)
            self._message_size = size
            if not size:
                self._complete(memoryview(b""))
        return position

    def _hold(self, size: int) -> None:
        if not self._reserve(size):
            raise OutOfMemoryBudget
        self.held_size += size

    def _fit(self, needed: int) -> None:
        """Make the buffer hold at least `needed` bytes."""
        if needed <= self._capacity:
            return
        size = self._message_size
        buffer = self._buffers.used_again(size)
        if buffer is None:
            capacity = min(size, max(needed, _FIRST_CAPACITY, self._capacity * _GROWTH))
            self._hold(capacity - self._capacity)
            buffer = bytearray(capacity)
            if capacity == size:
                self._buffers.keep(buffer)
        else:
            # It is there anyway: the whole message's room at once.
            capacity = size
            self._hold(capacity - self._capacity)
        view = memoryview(buffer)[:capacity]
        view[: self._filled] = self._view[: self._filled]
        self._buffer, self._view, self._capacity = buffer, view, capacity

    def _advance(self, count: int) -> None:
        self._filled += count
        if self._filled == self._message_size:
            self._complete(self._view.toreadonly())

    def _complete(self, payload: memoryview) -> None:
        self.messages.append(InboundMessage(payload, self._compressed))
        self._forget_buffer()

    def _forget_buffer(self) -> None:
        self._message_size = -1
        self._filled = self._capacity = 0
        self._buffer = _NO_BUFFER
        self._view = _NO_VIEW


_NO_BUFFER = bytearray()
_NO_VIEW = memoryview(_NO_BUFFER)


def prefix(size: int, *, compressed: bool) -> bytes:
    """The five bytes before a message of `size` bytes."""
    return PREFIX.pack(compressed, size)
