"""The server around its calls: registration, ports, limits and stopping."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any

import grpc
import pytest

from ottla_broker.transport.credentials import TlsCredentials

from .fake_stream import FakeStream, request_headers
from .serving import Serving, finished, settled


async def wait_forever(request: Any, context: Any) -> None:
    await asyncio.Event().wait()


async def test_a_registered_method_goes_before_a_generic_one() -> None:
    serving = Serving()

    async def registered(request: Any, context: Any) -> Any:
        return b"registered"

    async def generic(request: Any, context: Any) -> Any:
        return b"generic"

    methods: dict[str, Any] = {
        name: grpc.unary_unary_rpc_method_handler(generic) for name in ("Method", "Other")
    }
    serving.server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("test.Service", methods),)
    )
    serving.unary(registered)
    assert (await serving.call(b"")).sent == [b"registered"]
    assert (await serving.call(b"", method="Other")).sent == [b"generic"]


async def test_interceptors_run_in_order_and_may_refuse() -> None:
    seen: list[Any] = []

    class Noting(grpc.aio.ServerInterceptor):
        def __init__(self, name: str) -> None:
            self.name = name

        async def intercept_service(self, continuation: Any, details: Any) -> Any:
            seen.append((self.name, details.method, details.invocation_metadata))
            return None if self.name == "refusing" else await continuation(details)

    async def echo(request: Any, context: Any) -> Any:
        return request

    serving = Serving(interceptors=(Noting("first"), Noting("second")))
    serving.unary(echo)
    assert (await serving.call(b"x")).sent == [b"x"]
    metadata = (("user-agent", "fake/1"),)
    assert seen == [
        ("first", "/test.Service/Method", metadata),
        ("second", "/test.Service/Method", metadata),
    ]
    serving = Serving(interceptors=(Noting("refusing"),))
    serving.unary(echo)
    assert (await serving.call(b"x")).status() == (12, "Method not found!")


async def test_calls_beyond_the_limit_are_refused_and_the_next_one_is_served() -> None:
    serving = Serving(concurrent_calls_max=1)
    serving.unary(wait_forever)
    held = serving.open().request(b"").end_requests()
    await settled()
    refused = await serving.call(b"")
    assert refused.status() == (8, "Concurrent RPC limit exceeded!")
    held.client_resets()
    await settled()

    async def echo(request: Any, context: Any) -> Any:
        return request

    serving.unary(echo, "Echo")
    assert (await serving.call(b"x", method="Echo")).sent == [b"x"]


async def test_ports_are_known_before_the_server_starts() -> None:
    serving = Serving()
    port = serving.server.add_insecure_port("127.0.0.1:0")
    other = serving.server.add_insecure_port("[::]:0")
    await serving.server.start()
    assert port > 0
    assert serving.listener.served == [(port, False), (other, False)]


async def test_a_port_in_use_is_an_error_when_it_is_added() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(RuntimeError, match=f"Failed to bind to address 127.0.0.1:{port}"):
            Serving().server.add_insecure_port(f"127.0.0.1:{port}")


@pytest.mark.parametrize("address", ["", "localhost", "1.2.3.4:", "a:b", "::1:80", "h:70000"])
async def test_a_malformed_address_is_refused(address: Any) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Serving().server.add_insecure_port(address)


async def test_a_secure_port_takes_our_credentials_only(tmp_path: Path) -> None:
    server = Serving().server
    with pytest.raises(TypeError, match="TlsCredentials"):
        server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(b"k", b"c")]))
    with pytest.raises(FileNotFoundError):
        server.add_secure_port("127.0.0.1:0", TlsCredentials(tmp_path / "c", tmp_path / "k"))
    with pytest.raises(ValueError, match="client_ca_file"):
        required = TlsCredentials(tmp_path, tmp_path, client_certificate_required=True)
        server.add_secure_port("127.0.0.1:0", required)


async def test_stop_without_grace_ends_calls_as_unavailable() -> None:
    serving = Serving()
    serving.unary(wait_forever)
    await serving.server.start()
    stream = serving.open().request(b"").end_requests()
    await settled()
    await serving.server.stop(None)
    assert stream.status() == (14, "Server is shutting down")
    assert serving.listener.told == ["drain", "close"]
    assert await serving.server.wait_for_termination() is False


async def test_stop_with_grace_lets_calls_finish() -> None:
    release = asyncio.Event()

    async def handler(request: Any, context: Any) -> Any:
        await release.wait()
        return b"done"

    serving = Serving()
    serving.unary(handler)
    await serving.server.start()
    stream = serving.open().request(b"").end_requests()
    await settled()
    async with asyncio.TaskGroup() as group:
        group.create_task(serving.server.stop(100))
        await settled()
        assert serving.listener.told == ["drain"]
        release.set()
    assert stream.sent == [b"done"]
    assert stream.status() == (0, "")


async def test_a_second_stop_with_less_grace_wins() -> None:
    serving = Serving()
    serving.unary(wait_forever)
    await serving.server.start()
    stream = serving.open().request(b"").end_requests()
    async with asyncio.TaskGroup() as group:
        group.create_task(serving.server.stop(100))
        await settled()
        group.create_task(serving.server.stop(None))
    assert stream.status()[0] == 14


async def test_a_call_that_arrives_while_draining_is_served() -> None:
    serving = Serving()

    async def echo(request: Any, context: Any) -> Any:
        return request

    serving.unary(echo)
    serving.unary(wait_forever, "Wait")
    await serving.server.start()
    serving.open("Wait").request(b"").end_requests()
    async with asyncio.TaskGroup() as group:
        group.create_task(serving.server.stop(100))
        await settled()
        assert (await serving.call(b"x")).sent == [b"x"]
        await serving.server.stop(None)


@pytest.mark.parametrize("ticks", range(8))
async def test_no_call_is_left_unanswered_whenever_it_arrives_in_a_stop(ticks: int) -> None:
    serving = Serving()
    serving.streaming(wait_forever)
    await serving.server.start()
    first = serving.open()
    await settled()
    stopping = asyncio.ensure_future(serving.server.stop(None))  # noqa: TID251 - awaited below
    for _ in range(ticks):
        await asyncio.sleep(0)
    late = serving.open()
    await stopping
    assert first.status()[0] == 14
    # REFUSED_STREAM: no handler has seen it, the client may send it elsewhere.
    assert late.reset_code == 7 if late.trailers is None else late.status()[0] == 14


async def test_a_call_that_breaks_the_transport_is_reset(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeStream):
        async def send_trailers(self, headers: Any) -> None:
            raise RuntimeError("no way to say it")

    serving = Serving()
    serving.streaming(wait_forever)
    await serving.server.start()
    stream = Broken(request_headers("Nothing"))
    serving.server.on_stream(stream)
    await settled()
    assert stream.reset_code == 2
    assert "no way to say it" in caplog.text


async def test_a_server_that_never_started_stops_and_frees_its_port() -> None:
    serving = Serving()
    port = serving.server.add_insecure_port("127.0.0.1:0")
    await serving.server.stop(None)
    socket.create_server(("127.0.0.1", port)).close()
    assert await serving.server.wait_for_termination(1) is False


async def test_waiting_for_termination_times_out_while_the_server_runs() -> None:
    serving = Serving()
    await serving.server.start()
    assert await serving.server.wait_for_termination(0.001) is True


async def test_a_server_starts_once() -> None:
    serving = Serving()
    await serving.server.start()
    with pytest.raises(grpc.aio.UsageError):
        await serving.server.start()


async def test_a_failing_done_callback_is_logged_and_the_others_run(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[Any] = []

    async def handler(request: Any, context: Any) -> Any:
        context.add_done_callback(lambda _: 1 / 0)
        context.add_done_callback(seen.append)
        return b""

    serving = Serving()
    serving.unary(handler)
    await serving.call(b"")
    assert len(seen) == 1
    assert seen[0].done()
    assert "Error in a done callback" in caplog.text


async def test_a_client_that_leaves_before_it_is_refused_does_no_harm(
    caplog: pytest.LogCaptureFixture,
) -> None:
    serving = Serving()
    stream = serving.open("Nothing")
    stream.client_resets()
    await finished(stream)
    assert caplog.text == ""


async def test_a_context_has_every_public_method_of_grpc() -> None:
    seen: list[Any] = []

    async def handler(request: Any, context: Any) -> Any:
        seen.append(context)
        return b""

    serving = Serving()
    serving.unary(handler)
    await serving.call(b"")
    wanted = {name for name in dir(grpc.aio.ServicerContext) if not name.startswith("_")}
    own = {
        name
        for name in wanted
        if getattr(type(seen[0]), name) is not getattr(grpc.aio.ServicerContext, name)
    }
    assert own == wanted
