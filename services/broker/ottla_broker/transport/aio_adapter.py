"""The servicers of this package on `grpc.aio.server`: for comparison, and where it must be stock.

Owns what grpc cannot do itself: an `EncodedMessage` becomes its joined bytes (ranges read from
their files, which are then released), and a raw method gets a read-only view of its request.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import grpc

from ottla_broker.transport.handlers import (
    Handler,
    Serializer,
    rebuilt,
    release_files,
    with_raw_requests,
)
from ottla_broker.transport.stream import EncodedMessage, FileRange, Part


class TruncatedFile(OSError):  # noqa: N818 - reads as the condition it is
    """A file ended before the end of a range promised from it."""


def joined(message: EncodedMessage) -> bytes:
    """The message's bytes in one piece; its files are released.

    Raises:
        TruncatedFile: a file is shorter than its range.
    """
    try:
        return b"".join([_read(part) for part in message.parts])
    finally:
        release_files(message)


def _read(part: Part) -> bytes | memoryview:
    if not isinstance(part, FileRange):
        return part
    pieces: list[bytes] = []
    position, end = part.position, part.position + part.size
    while position < end:
        piece = os.pread(part.file.fileno(), end - position, position)
        if not piece:
            raise TruncatedFile(f"file ends at {position}, {end - position} bytes short of a range")
        pieces.append(piece)
        position += len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def adapted(handler: Handler) -> Handler:
    """`handler` as `grpc.aio.server` can run it."""
    raw = with_raw_requests(handler)
    return rebuilt(raw, response_serializer=_joining(handler.response_serializer))


def _joining(serialize: Serializer | None) -> Callable[[Any], bytes]:
    def joining(message: Any) -> bytes:
        if isinstance(message, EncodedMessage):
            return joined(message)
        return bytes(message) if serialize is None else serialize(message)

    return joining


class AioServerAdapter:
    """Registers servicers on a `grpc.aio.Server`; give it to `add_XServicer_to_server`."""

    def __init__(self, server: grpc.aio.Server) -> None:
        self._server = server

    def add_generic_rpc_handlers(
        self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]
    ) -> None:
        """Register these, each handler adapted when it is looked up."""
        self._server.add_generic_rpc_handlers(
            tuple(_AdaptedGeneric(handler) for handler in generic_rpc_handlers)
        )

    def add_registered_method_handlers(
        self, service_name: str, method_handlers: Mapping[str, Handler]
    ) -> None:
        """Register these methods, adapted."""
        self._server.add_registered_method_handlers(
            service_name, {name: adapted(handler) for name, handler in method_handlers.items()}
        )


class _AdaptedGeneric(grpc.GenericRpcHandler):
    def __init__(self, generic: grpc.GenericRpcHandler) -> None:
        self._generic = generic

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Handler | None:
        handler = self._generic.service(handler_call_details)
        return None if handler is None else adapted(handler)
