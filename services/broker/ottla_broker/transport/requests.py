"""The requests of one call: taken from its stream, inflated, and counted where one is allowed.

Owns what can be wrong with a request before a handler sees it, and the words for that. Parsing,
and ending the call, are `call`'s.
"""

from __future__ import annotations

import asyncio

from ottla_broker.transport import compression, status
from ottla_broker.transport.stream import (
    GrpcStream,
    InboundMessage,
    MalformedMessage,
    MessageTooLarge,
    TruncatedMessage,
)

# Below this, handing a message to a thread costs more than unpacking it here.
OFFLOAD_BYTES = 64 * 1024


class UnusableRequest(Exception):  # noqa: N818 - reads as the condition it is
    """A request that ends its call with this status."""

    def __init__(self, code: int, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class Requests:
    """The receiving half of a call; one receiver at a time."""

    __slots__ = ("_encoding", "_ended", "_size_max", "_stream")

    def __init__(self, stream: GrpcStream, *, encoding: bytes | None, size_max: int) -> None:
        self._stream = stream
        self._encoding = encoding
        self._size_max = size_max
        self._ended = False

    async def take(self) -> memoryview | None:
        """The next request's bytes, or None after the last.

        Raises:
            StreamReset: the client gave up.
            UnusableRequest: what came cannot be served.
        """
        if self._ended:
            return None
        message = await self._received()
        if message is None:
            self._ended = True
            return None
        return await self._inflated(message) if message.compressed else message.payload

    async def take_end(self) -> None:
        """Wait until the client has said that nothing follows.

        Raises:
            StreamReset: the client gave up.
            UnusableRequest: something followed.
        """
        if await self._received() is not None:
            text = "Request of a unary call has more than one message"
            raise UnusableRequest(status.INTERNAL, text)
        self._ended = True

    async def _received(self) -> InboundMessage | None:
        try:
            return self._stream.receive_nowait() or await self._stream.receive()
        except MessageTooLarge as error:
            raise UnusableRequest(status.RESOURCE_EXHAUSTED, str(error)) from None
        except MalformedMessage as error:
            text = f"Request is not framed as gRPC: {error}"
            raise UnusableRequest(status.INTERNAL, text) from None
        except TruncatedMessage:
            text = "Requests ended inside a message"
            raise UnusableRequest(status.INTERNAL, text) from None

    async def _inflated(self, message: InboundMessage) -> memoryview:
        payload, encoding, limit = message.payload, self._encoding, self._size_max
        if encoding is None:
            text = "Message is compressed, but grpc-encoding is not set"
            raise UnusableRequest(status.INTERNAL, text)
        try:
            if len(payload) < OFFLOAD_BYTES:
                return memoryview(compression.inflated(payload, encoding, limit=limit))
            inflate = compression.inflated
            return memoryview(await asyncio.to_thread(inflate, payload, encoding, limit=limit))
        except MessageTooLarge:
            text = f"Decompressed message larger than max ({limit})"
            raise UnusableRequest(status.RESOURCE_EXHAUSTED, text) from None
        except compression.CorruptCompression as error:
            raise UnusableRequest(status.INTERNAL, str(error)) from None
