"""Server reflection, `v1` and `v1alpha`, on any `grpc.aio` server.

Both versions speak the same bytes; the installed package has code for `v1alpha` only. `v1` is
served by the same servicer under its own name, and its descriptor is derived from the other's, so
that tools which look the reflection service up find it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import (
    aio as reflection_aio,
)

V1_SERVICE_NAME = "grpc.reflection.v1.ServerReflection"
V1ALPHA_SERVICE_NAME = "grpc.reflection.v1alpha.ServerReflection"

_V1_FILE = "grpc/reflection/v1/reflection.proto"


def add_reflection(server: grpc.aio.Server, service_names: Iterable[str]) -> None:
    """Let clients list and describe `service_names`, and reflection itself."""
    names = sorted({*service_names, V1_SERVICE_NAME, V1ALPHA_SERVICE_NAME})
    servicer = reflection_aio.ReflectionServicer(names, pool=_Pools())
    handler = grpc.stream_stream_rpc_method_handler(
        servicer.ServerReflectionInfo,
        request_deserializer=reflection_pb2.ServerReflectionRequest.FromString,
        response_serializer=reflection_pb2.ServerReflectionResponse.SerializeToString,
    )
    for name in (V1_SERVICE_NAME, V1ALPHA_SERVICE_NAME):
        methods = {"ServerReflectionInfo": handler}
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
        server.add_registered_method_handlers(name, methods)


def _v1_file() -> descriptor_pb2.FileDescriptorProto:
    """The `v1` file: `v1alpha` with another package."""
    file = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(file)
    file.name, file.package = _V1_FILE, "grpc.reflection.v1"
    file.ClearField("options")
    old, new = ".grpc.reflection.v1alpha.", ".grpc.reflection.v1."
    for message in file.message_type:
        for field in message.field:
            if field.HasField("type_name"):
                field.type_name = field.type_name.replace(old, new)
    for method in file.service[0].method:
        method.input_type = method.input_type.replace(old, new)
        method.output_type = method.output_type.replace(old, new)
    return file


class _Pools:
    """The process's descriptors, and behind them the `v1` file.

    Apart, because generated code for that file may be loaded by somebody else one day, and a pool
    refuses a second file of one name.
    """

    def __init__(self) -> None:
        self._pools = [descriptor_pool.Default(), descriptor_pool.DescriptorPool()]
        self._pools[1].Add(_v1_file())

    def __getattr__(self, name: str) -> Any:
        """A look-up method of a pool, tried on each in turn."""

        def look_up(*arguments: Any) -> Any:
            for pool in self._pools[:-1]:
                try:
                    return getattr(pool, name)(*arguments)
                except KeyError:
                    continue
            return getattr(self._pools[-1], name)(*arguments)

        return look_up
