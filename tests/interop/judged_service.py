"""`grpc.testing.TestService` on our server: what gRPC's interoperability clients call.

Its messages are made from `judges/interop.proto` when the tests start, in a pool of their own: no
generated code to keep, and no clash with a package that registers the same names.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from grpc_tools import protoc

from ottla_broker.transport import Server

FOLDER = Path(__file__).parent / "judges"
_PROTO = "interop.proto"
_SERVICE = "grpc.testing.TestService"
_INITIAL_KEY = "x-grpc-test-echo-initial"
_TRAILING_KEY = "x-grpc-test-echo-trailing-bin"

Messages = Mapping[str, type[Any]]


def compiled_service(scratch: Path) -> ServiceDescriptor:
    """The service of the proto; `scratch` is a folder for what comes between."""
    described = scratch / "interop.binpb"
    code = protoc.main(["protoc", f"-I{FOLDER}", f"--descriptor_set_out={described}", _PROTO])
    assert code == 0, "the proto does not compile"
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(described.read_bytes()).file:
        pool.Add(file)
    return pool.FindServiceByName(_SERVICE)


class JudgedServicer:
    """Does what the interoperability cases ask of a server."""

    def __init__(self, messages: Messages) -> None:
        self._messages = messages
        # Makes the servicer wrong on purpose.
        self.payload_size_offset = 0

    async def empty_call(self, request: Any, context: Any) -> Any:
        return self._messages["Empty"]()

    async def unary_call(self, request: Any, context: Any) -> Any:
        await self._echo_metadata(context)
        await _echo_status(request, context)
        return self._messages["SimpleResponse"](payload=self._payload(request.response_size))

    async def streaming_output_call(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for wanted in request.response_parameters:
            yield self._response(wanted)

    async def streaming_input_call(self, requests: AsyncIterator[Any], context: Any) -> Any:
        size = 0
        async for request in requests:
            size += len(request.payload.body)
        return self._messages["StreamingInputCallResponse"](aggregated_payload_size=size)

    async def full_duplex_call(
        self, requests: AsyncIterator[Any], context: Any
    ) -> AsyncIterator[Any]:
        await self._echo_metadata(context)
        async for request in requests:
            await _echo_status(request, context)
            for wanted in request.response_parameters:
                yield self._response(wanted)

    def _payload(self, size: int) -> Any:
        return self._messages["Payload"](body=bytes(size + self.payload_size_offset))

    def _response(self, wanted: Any) -> Any:
        return self._messages["StreamingOutputCallResponse"](payload=self._payload(wanted.size))

    async def _echo_metadata(self, context: Any) -> None:
        sent = dict(context.invocation_metadata())
        if _TRAILING_KEY in sent:
            context.set_trailing_metadata(((_TRAILING_KEY, sent[_TRAILING_KEY]),))
        if _INITIAL_KEY in sent:
            await context.send_initial_metadata(((_INITIAL_KEY, sent[_INITIAL_KEY]),))


async def _echo_status(request: Any, context: Any) -> None:
    if request.response_status.code:
        code = {each.value[0]: each for each in grpc.StatusCode}[request.response_status.code]
        await context.abort(code, request.response_status.message)


def add_judged_service(server: Server, service: ServiceDescriptor) -> JudgedServicer:
    """Serve the compiled service on `server`."""
    types = service.file.message_types_by_name.items()
    messages = {name: message_factory.GetMessageClass(found) for name, found in types}
    servicer = JudgedServicer(messages)
    behaviours: dict[str, Callable[..., Any]] = {
        "EmptyCall": servicer.empty_call,
        "UnaryCall": servicer.unary_call,
        "StreamingOutputCall": servicer.streaming_output_call,
        "StreamingInputCall": servicer.streaming_input_call,
        "FullDuplexCall": servicer.full_duplex_call,
    }
    server.add_registered_method_handlers(
        _SERVICE,
        {
            name: _handler(service.methods_by_name[name], behaviour, messages)
            for name, behaviour in behaviours.items()
        },
    )
    return servicer


def _handler(method: MethodDescriptor, behaviour: Callable[..., Any], messages: Messages) -> Any:
    constructors: dict[tuple[bool, bool], Callable[..., Any]] = {
        (False, False): grpc.unary_unary_rpc_method_handler,
        (False, True): grpc.unary_stream_rpc_method_handler,
        (True, False): grpc.stream_unary_rpc_method_handler,
        (True, True): grpc.stream_stream_rpc_method_handler,
    }
    return constructors[method.client_streaming, method.server_streaming](
        behaviour,
        request_deserializer=messages[method.input_type.name].FromString,
        response_serializer=messages[method.output_type.name].SerializeToString,
    )
