"""The seam between HTTP/2 and gRPC: one stream, its messages in and out.

The connection side (`connection`, `writer`) implements `GrpcStream`; the gRPC side (`server`)
drives it. Neither knows more of the other than what stands here. Messages going out are parts:
bytes, views and ranges of open files, so that file bytes never pass through Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, final

Header = tuple[bytes, bytes]


class FileOwner(Protocol):
    """An open file that stays readable while somebody holds it, even when unlinked."""

    def fileno(self) -> int:
        """The descriptor; valid between `acquire` and `release`."""
        ...

    def acquire(self) -> None:
        """Count one more holder."""
        ...

    def release(self) -> None:
        """Count one holder less; the last one out closes the descriptor."""
        ...


@final
@dataclass(frozen=True, slots=True)
class FileRange:
    """`size` bytes of a file from `position` on, sent by the kernel."""

    file: FileOwner
    position: int
    size: int


Part = bytes | memoryview | FileRange


@dataclass(frozen=True, slots=True)
class EncodedMessage:
    """One gRPC message that is already protobuf wire bytes, in pieces.

    The handler acquires the file of every `FileRange` in `parts`; the transport releases each
    once the range is sent or the stream is gone, whatever way it ends.
    """

    parts: Sequence[Part]

    @property
    def size(self) -> int:
        """Bytes of the message, without the gRPC prefix."""
        return sum(part.size if isinstance(part, FileRange) else len(part) for part in self.parts)


@dataclass(frozen=True, slots=True)
class InboundMessage:
    """A whole message as received: the payload belongs to the receiver."""

    payload: memoryview
    compressed: bool


class StreamReset(Exception):  # noqa: N818 - the event's name in HTTP/2
    """The peer reset the stream, or its connection is gone; nothing more can be sent."""

    def __init__(self, error_code: int) -> None:
        super().__init__(f"stream reset with HTTP/2 error code {error_code}")
        self.error_code = error_code


class MessageTooLarge(Exception):  # noqa: N818 - reads as the condition it is
    """A length prefix announces more bytes than the server takes."""

    def __init__(self, *, size: int, limit: int) -> None:
        super().__init__(f"received message larger than max ({size} vs. {limit})")
        self.size = size
        self.limit = limit


class MalformedMessage(Exception):  # noqa: N818 - reads as the condition it is
    """A message's prefix is none of gRPC: its compressed flag is neither 0 nor 1."""


class TruncatedMessage(Exception):  # noqa: N818 - reads as the condition it is
    """The requests ended inside a message."""


class GrpcStream(Protocol):
    """One HTTP/2 stream as the gRPC side sees it; used from the event loop's thread only."""

    @property
    def stream_id(self) -> int:
        """The HTTP/2 stream identifier."""
        ...

    @property
    def headers(self) -> Sequence[Header]:
        """Request headers as received: pseudo-headers first, order and repeats kept."""
        ...

    @property
    def peer(self) -> str:
        """The client's address as gRPC writes it, such as `ipv4:127.0.0.1:5000`."""
        ...

    @property
    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        """What TLS proved of the client; empty on a plaintext port."""
        ...

    def receive_nowait(self) -> InboundMessage | None:
        """A message if one is whole already, else None. Raises what `receive` raises."""
        ...

    async def receive(self) -> InboundMessage | None:
        """The next message, or None after the last one.

        Taking a message returns its flow-control credit to the client: what nobody takes holds
        the client back.

        Raises:
            StreamReset: the client gave up.
            MessageTooLarge: the announced length exceeds the limit; nothing was buffered.
            MalformedMessage: what came is not framed as gRPC.
            TruncatedMessage: the client ended its side inside a message.
        """
        ...

    async def send_headers(self, headers: Sequence[Header]) -> None:
        """Send response headers, `:status` first."""
        ...

    def send_message_nowait(self, parts: Sequence[Part], *, compressed: bool = False) -> bool:
        """Queue a message if the stream's queue has room; False means use `send_message`.

        One rule for the files of its ranges, here and in `send_message`: by queuing the message
        and by raising alike, the stream has taken them over, and releases each exactly once.
        Only on False are they still the caller's.

        Raises:
            StreamReset: nothing more can be sent.
        """
        ...

    async def send_message(self, parts: Sequence[Part], *, compressed: bool = False) -> None:
        """Queue a message with its prefix, waiting for room in the stream's bounded queue.

        Raises:
            StreamReset: nothing more can be sent; the files of its ranges are released, as on
                cancellation.
        """
        ...

    def writable_nowait(self) -> int:
        """Bytes the client takes at once; 0 while it takes none, or others are before them."""
        ...

    async def writable(self) -> int:
        """Wait until all that was sent has left and the client takes more; how many bytes.

        For messages that are costly to hold: made only now, and not larger than this, they do
        not wait in memory for a client that does not read.

        Raises:
            StreamReset: nothing more can be sent.
        """
        ...

    async def send_trailers(self, headers: Sequence[Header]) -> None:
        """Send trailers behind all queued messages and end the stream.

        Without an earlier `send_headers` this is a trailers-only response.
        """
        ...

    def reset(self, error_code: int) -> None:
        """Abandon the stream with RST_STREAM; queued messages are dropped."""
        ...

    def add_done_callback(self, callback: Callable[[StreamReset | None], None]) -> None:
        """Call back once when the stream is over: None when both sides ended cleanly."""
        ...
