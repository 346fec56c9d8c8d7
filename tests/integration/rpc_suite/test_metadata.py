"""Metadata of calls: what handlers see, what clients get, and when."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest

from .arrangement import SERVICE, Rpc, message, own_metadata

METADATA = (
    ("x-text", "a"),
    ("x-bin", b"\0\1\xfe\xff"),
    ("x-text", "b, c"),
    ("x-empty-bin", b""),
    ("x-bin", b"second"),
)


def by_key(metadata: Any) -> Any:
    """Pairs in the order of their keys, values of one key in theirs."""
    return sorted(own_metadata(metadata), key=lambda pair: pair[0])


async def test_a_handler_sees_what_the_client_sent(rpc: Rpc) -> None:
    seen = []

    async def handler(request: Any, context: Any) -> Any:
        seen.extend(context.invocation_metadata())
        assert context.invocation_metadata()[0].key == "user-agent"
        return request

    await rpc.method("unary", handler).serve()
    await rpc.stub("unary")(message(""), metadata=METADATA, timeout=30)
    assert by_key(seen) == by_key(METADATA)
    assert {key for key, _ in seen} == {"user-agent", "x-text", "x-bin", "x-empty-bin"}


@pytest.mark.parametrize("generic", [False, True])
async def test_initial_and_trailing_metadata_arrive(rpc: Rpc, generic: Any) -> None:
    async def handler(request: Any, context: Any) -> Any:
        await context.send_initial_metadata(METADATA)
        context.set_trailing_metadata((*METADATA, ("x-last", "z")))
        return request

    await rpc.method("unary", handler).serve(generic=generic)
    call = rpc.stub("unary")(message("x"))
    assert (await call).value == b"x"
    assert by_key(await call.initial_metadata()) == by_key(METADATA)
    assert by_key(await call.trailing_metadata()) == by_key((*METADATA, ("x-last", "z")))


async def test_initial_metadata_arrives_before_the_first_message(rpc: Rpc) -> None:
    async def handler(requests: Any, context: Any) -> AsyncIterator[Any]:
        await context.send_initial_metadata((("x-early", "yes"),))
        async for request in requests:
            yield request

    await rpc.method("bidi", handler).serve()
    call = rpc.stub("bidi")()
    assert own_metadata(await call.initial_metadata()) == [("x-early", "yes")]
    await call.write(message("x"))
    assert (await call.read()).value == b"x"
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK


async def test_initial_metadata_is_sent_once(rpc: Rpc) -> None:
    seen = []

    async def handler(request: Any, context: Any) -> None:
        await context.write(message("first"))
        try:
            await context.send_initial_metadata((("x-late", "yes"),))
        except grpc.aio.UsageError as error:
            seen.append(str(error))

    await rpc.method("server_stream", handler).serve()
    call = rpc.stub("server_stream")(message(""))
    assert [item.value async for item in call] == [b"first"]
    assert seen == ["Send initial metadata failed: already sent"]


async def test_metadata_may_be_grpcs_own_class(rpc: Rpc) -> None:
    async def handler(request: Any, context: Any) -> Any:
        await context.send_initial_metadata(grpc.aio.Metadata(("x-a", "1"), ("x-a", "2")))
        context.set_trailing_metadata(grpc.aio.Metadata(("x-b", "3")))
        return request

    await rpc.method("unary", handler).serve()
    call = rpc.stub("unary")(message(""))
    await call
    assert own_metadata(await call.initial_metadata()) == [("x-a", "1"), ("x-a", "2")]
    assert own_metadata(await call.trailing_metadata()) == [("x-b", "3")]


async def test_the_peer_is_named_as_grpc_names_it(rpc: Rpc) -> None:
    seen = []

    async def handler(request: Any, context: Any) -> Any:
        seen.append((context.peer(), context.peer_identity_key(), context.peer_identities()))
        return request

    await rpc.method("unary", handler).serve()
    await rpc.stub("unary")(message(""))
    ((peer, key, identities),) = seen
    host, _, port = peer.rpartition(":")
    assert host == "ipv4:127.0.0.1"
    assert 0 < int(port) < 65536
    assert (key, identities) == (None, None)


@pytest.mark.parametrize("rpc", ["ours-tls"], indirect=True)
async def test_a_client_certificate_identifies_its_client(rpc: Rpc) -> None:
    seen: list[Any] = []

    async def handler(request: Any, context: Any) -> Any:
        seen.append((context.peer_identity_key(), context.peer_identities()))
        seen.append(context.auth_context())
        return request

    await rpc.method("unary", handler).serve()
    channel = rpc.connect(client_certificate=True)
    await rpc.stub("unary", channel=channel)(message(""))
    (key, identities), proved = seen
    assert key == "x509_subject_alternative_name"
    assert list(identities) == [b"ottla-test-client"]
    assert list(proved["x509_common_name"]) == [b"ottla-test-client"]
    assert list(proved["transport_security_type"]) == [b"ssl"]


async def test_details_of_a_call_name_its_method(rpc: Rpc) -> None:
    seen = []

    class Noting(grpc.aio.ServerInterceptor):
        async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
            seen.append(handler_call_details.method)
            seen.append(own_metadata(handler_call_details.invocation_metadata))
            return await continuation(handler_call_details)

    async def handler(request: Any, context: Any) -> Any:
        return request

    await rpc.method("unary", handler).serve(interceptors=(Noting(),))
    await rpc.stub("unary")(message(""), metadata=(("x-a", "1"),))
    assert seen == [f"/{SERVICE}/Method", [("x-a", "1")]]
