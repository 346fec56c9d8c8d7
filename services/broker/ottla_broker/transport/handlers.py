"""Method handlers: how a registered gRPC method is called, and where one is found by its path.

Owns the marker for raw methods, the turning of `grpc.RpcMethodHandler` into a `Method` ready to
run, and the table of both kinds of registration. Running a method belongs to `runners`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import grpc

from ottla_broker.transport.metadata import MetadataValue
from ottla_broker.transport.stream import EncodedMessage, FileRange, Part

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Serializer = Callable[[Any], bytes]
Deserializer = Callable[[Any], Any]
_Function = TypeVar("_Function", bound=Callable[..., Any])

_MARK = "takes_raw_requests"


def raw_request(function: _Function) -> _Function:
    """Declare that a servicer's method takes its requests unparsed.

    The handler gets each request as a read-only `memoryview` of its protobuf bytes, on this
    server and, through `aio_adapter`, on `grpc.aio.server`.
    """
    setattr(function, _MARK, True)
    return function


def raw_view(payload: bytes | memoryview) -> memoryview:
    """The deserializer of raw methods: the bytes themselves, read-only."""
    return memoryview(payload).toreadonly()


@dataclass(slots=True)
class CallDetails(grpc.HandlerCallDetails):
    """What interceptors and generic handlers are told of a call."""

    method: str
    invocation_metadata: tuple[tuple[str, MetadataValue], ...]


@dataclass(frozen=True, slots=True)
class Method:
    """A handler taken apart once, so that calling it asks no questions."""

    behaviour: Callable[..., Any]
    request_streaming: bool
    response_streaming: bool
    deserialize: Deserializer | None
    serialize: Serializer | None
    generates: bool
    """Whether the behaviour is an async generator function."""


def behaviour_of(handler: Handler) -> Callable[..., Any]:
    """The servicer's function inside a handler.

    Raises:
        ValueError: the handler lacks the function its kind calls for.
    """
    kinds = {
        (False, False): handler.unary_unary,
        (False, True): handler.unary_stream,
        (True, False): handler.stream_unary,
        (True, True): handler.stream_stream,
    }
    behaviour = kinds[bool(handler.request_streaming), bool(handler.response_streaming)]
    if behaviour is None:
        raise ValueError(f"handler has no function for its kind: {handler!r}")
    return behaviour


def with_raw_requests(handler: Handler) -> Handler:
    """`handler` with `raw_view` in place of its deserializer where its method is declared raw.

    Done at registration: an interceptor that wraps the function keeps the deserializer and loses
    the marker.
    """
    if not getattr(behaviour_of(handler), _MARK, False):
        return handler
    return rebuilt(handler, request_deserializer=raw_view)


def rebuilt(
    handler: Handler,
    *,
    request_deserializer: Deserializer | None = None,
    response_serializer: Serializer | None = None,
) -> Handler:
    """A copy of `handler` with another way in or out."""
    constructors: dict[tuple[bool, bool], Callable[..., Any]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    construct = constructors[bool(handler.request_streaming), bool(handler.response_streaming)]
    copy: Handler = construct(
        behaviour_of(handler),
        request_deserializer=request_deserializer or handler.request_deserializer,
        response_serializer=response_serializer or handler.response_serializer,
    )
    return copy


def prepared(handler: Handler) -> Method:
    """`handler` as a `Method`."""
    behaviour = behaviour_of(handler)
    deserialize = handler.request_deserializer
    return Method(
        behaviour=behaviour,
        request_streaming=bool(handler.request_streaming),
        response_streaming=bool(handler.response_streaming),
        deserialize=raw_view if getattr(behaviour, _MARK, False) else deserialize,
        serialize=handler.response_serializer,
        generates=inspect.isasyncgenfunction(behaviour),
    )


class MethodTable:
    """Every registered method; filled before the server starts, read by every call."""

    def __init__(self) -> None:
        self._registered: dict[str, Handler] = {}
        self._prepared: dict[bytes, Method] = {}
        self._generic: list[grpc.GenericRpcHandler] = []

    def add_generic(self, handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Add handlers that are asked in order for what is not registered by name."""
        for handler in handlers:
            if not callable(getattr(handler, "service", None)):
                raise TypeError(f"not a grpc.GenericRpcHandler: {handler!r}")
            self._generic.append(handler)

    def add_registered(self, service_name: str, handlers: Mapping[str, Handler]) -> None:
        """Add the methods of a service by name; these go before generic handlers."""
        for name, handler in handlers.items():
            path = f"/{service_name}/{name}"
            self._registered[path] = with_raw_requests(handler)
            self._prepared[path.encode()] = prepared(self._registered[path])

    def registered(self, path: bytes) -> Method | None:
        """The method registered under `path`, ready to run."""
        return self._prepared.get(path)

    def find(self, details: grpc.HandlerCallDetails) -> Handler | None:
        """The handler of a call, as interceptors see it."""
        handler = self._registered.get(details.method)
        if handler is not None:
            return handler
        for generic in self._generic:
            handler = generic.service(details)
            if handler is not None:
                return with_raw_requests(handler)
        return None

    def method_of(self, handler: Handler, path: bytes) -> Method:
        """`handler`, found or made by an interceptor, as a method."""
        if handler is self._registered.get(path.decode("utf-8", "replace")):
            return self._prepared[path]
        return prepared(handler)


def message_parts(message: object, serialize: Serializer | None) -> Sequence[Part]:
    """A response as the parts a stream sends.

    Raises:
        TypeError: the method has no serializer and the message is not bytes already.
    """
    if isinstance(message, EncodedMessage):
        return message.parts
    if serialize is not None:
        return (serialize(message),)
    if isinstance(message, bytes | memoryview):
        return (message,)
    raise TypeError(f"a method without serializer must answer bytes, not {type(message).__name__}")


def release_files(message: object) -> None:
    """Release the files of a message that will not be sent."""
    if isinstance(message, EncodedMessage):
        for part in message.parts:
            if isinstance(part, FileRange):
                part.file.release()
