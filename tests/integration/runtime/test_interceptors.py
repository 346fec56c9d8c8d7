"""The interceptors do the same on grpc's server and on the broker's own."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, MutableMapping
from typing import Any, Self

import grpc
import pytest
from structlog.testing import capture_logs

from kit.clock import ManualClock
from kit.entropy import SeededEntropy
from ottla.api.admin.v1 import admin_pb2, admin_pb2_grpc
from ottla.api.fetch.v1 import fetch_pb2, fetch_pb2_grpc
from ottla.protocol.errors import (
    FieldError,
    InvalidRequest,
    NotLeader,
    OttlaError,
    Throttled,
    UnknownTopicOrPartition,
)
from ottla_broker.transport import Server
from ottla_runtime.grpc_server import make_aio_server
from ottla_runtime.interceptors import standard_interceptors
from ottla_runtime.interceptors.authorizer import AllowAll, Authorizer
from ottla_runtime.interceptors.permissions import Operation, Permission, ResourceKind
from ottla_runtime.interceptors.principal import FORWARDED_PRINCIPAL
from ottla_runtime.rpc_errors import error_of

Act = Callable[[grpc.aio.ServicerContext[Any, Any]], Any]
DESCRIBE = "/ottla.api.admin.v1.AdminService/DescribeCluster"
READ = "/ottla.api.fetch.v1.FetchService/Read"


class Servicer(admin_pb2_grpc.AdminServiceServicer, fetch_pb2_grpc.FetchServiceServicer):
    """Does what the test says."""

    def __init__(self, clock: ManualClock) -> None:
        self.act: Callable[[], Any] = lambda: None
        self.entered = asyncio.Event()
        self._clock = clock

    async def DescribeCluster(self, request: Any, context: Any) -> Any:
        self._clock.tick(7)
        self.entered.set()
        result = self.act()
        if asyncio.iscoroutine(result):
            await result
        return admin_pb2.DescribeClusterResponse(cluster_id="c")

    async def Read(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield fetch_pb2.ReadResponse(next_offset=1)
        yield fetch_pb2.ReadResponse(next_offset=2)
        self.entered.set()
        result = self.act()
        if asyncio.iscoroutine(result):
            await result


class NobodyDescribes:
    """Refuses one operation and remembers who asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, Permission]] = []

    def allows(self, principal: str, permission: Permission, resource_name: str | None) -> bool:
        self.asked.append((principal, permission))
        return permission.operation is not Operation.DESCRIBE


class Service:
    """A server with the standard interceptors, and its clients."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._clock = ManualClock()
        self._exits = contextlib.AsyncExitStack()
        self.servicer = Servicer(self._clock)  # type: ignore[abstract]  # as real ones, not all
        self.lines: list[MutableMapping[str, Any]] = []

    async def start(
        self,
        *,
        authorizer: Authorizer | None = None,
        access_log: Any = "all",
        trusts_forwarded: bool = True,
    ) -> Self:
        self.lines = self._exits.enter_context(capture_logs())
        interceptors = standard_interceptors(
            clock=self._clock,
            entropy=SeededEntropy(3),
            authorizer=authorizer or AllowAll(),
            access_log=access_log,
            trusts_forwarded=trusts_forwarded,
        )
        server: grpc.aio.Server = (
            make_aio_server(interceptors=interceptors)
            if self._kind == "grpc"
            else Server(interceptors=interceptors)
        )
        admin_pb2_grpc.add_AdminServiceServicer_to_server(self.servicer, server)
        fetch_pb2_grpc.add_FetchServiceServicer_to_server(self.servicer, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        self._exits.push_async_callback(server.stop, 0)
        channel = grpc.aio.insecure_channel(f"127.0.0.1:{port}")
        self._exits.push_async_callback(channel.close, None)
        self.admin = admin_pb2_grpc.AdminServiceStub(channel)
        self.fetch = fetch_pb2_grpc.FetchServiceStub(channel)
        return self

    async def close(self) -> None:
        await self._exits.aclose()

    def fails_with(self, error: BaseException) -> None:
        def act() -> None:
            raise error

        self.servicer.act = act

    async def describe(self, **options: Any) -> Any:
        return await self.admin.DescribeCluster(
            admin_pb2.DescribeClusterRequest(), timeout=10, **options
        )

    async def failed_describe(self, **options: Any) -> OttlaError:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await self.describe(**options)
        return error_of(caught.value)

    async def line(self, event: str = "rpc.finished") -> MutableMapping[str, Any]:
        """The line of the call, which the server may write after the client has its answer."""
        async with asyncio.timeout(5):
            while event not in [line["event"] for line in self.lines]:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0)
        (line,) = (line for line in self.lines if line["event"] == event)
        return line


@pytest.fixture(params=["grpc", "ours"])
async def service(request: pytest.FixtureRequest) -> AsyncIterator[Service]:
    made = Service(request.param)
    yield made
    await made.close()


async def test_error_reaches_the_client_with_reason_and_details(service: Service) -> None:
    await service.start()
    service.fails_with(
        NotLeader(
            "partition 3 of flights is led by 2",
            metadata={"topic": "flights", "partition": 3, "leader_host": "b2"},
        )
    )
    error = await service.failed_describe()
    assert isinstance(error, NotLeader)
    assert (error.message, error.topic, error.partition, error.metadata["leader_host"]) == (
        "partition 3 of flights is led by 2",
        "flights",
        3,
        "b2",
    )
    line = await service.line()
    assert (line["code"], line["reason"], line["duration_ms"]) == ("ABORTED", "NOT_LEADER", 7)


async def test_wait_and_field_errors_reach_the_client(service: Service) -> None:
    await service.start()
    service.fails_with(Throttled("slow down", retry_after_ms=250))
    assert (await service.failed_describe()).retry_after_ms == 250
    service.fails_with(InvalidRequest("no", field_errors=[FieldError("topics[0].name", "empty")]))
    assert (await service.failed_describe()).field_errors == (
        FieldError("topics[0].name", "empty"),
    )


async def test_error_with_any_text_reaches_the_client_cut(service: Service) -> None:
    await service.start()
    service.fails_with(
        UnknownTopicOrPartition("täst\n\x00" * 10_000, metadata={"topic": "x" * 9_999})
    )
    error = await service.failed_describe()
    assert isinstance(error, UnknownTopicOrPartition)
    assert error.message.startswith("täst\n")


async def test_the_unplanned_is_masked_and_the_log_explains_it(service: Service) -> None:
    await service.start()
    service.fails_with(ZeroDivisionError("secret detail"))
    error = await service.failed_describe()
    assert error.reason == "INTERNAL"
    assert "secret detail" not in error.message
    line = await service.line("rpc.failed_unexpectedly")
    assert line["incident_id"] == error.metadata["incident_id"]
    assert line["incident_id"] in error.message
    assert line["error"] == "ZeroDivisionError: secret detail"
    assert (await service.line())["code"] == "INTERNAL"


async def test_stream_that_fails_midway_keeps_what_was_sent(service: Service) -> None:
    await service.start()
    service.fails_with(UnknownTopicOrPartition("deleted meanwhile"))
    offsets = []
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        async for response in service.fetch.Read(fetch_pb2.ReadRequest(), timeout=10):
            offsets.append(response.next_offset)  # noqa: PERF401 - kept also when the call fails
    assert offsets == [1, 2]
    assert isinstance(error_of(caught.value), UnknownTopicOrPartition)
    assert (await service.line())["method"] == READ


async def test_success_leaves_one_line(service: Service) -> None:
    await service.start()
    assert (await service.describe()).cluster_id == "c"
    line = await service.line()
    assert line.pop("peer").startswith("ipv4:127.0.0.1:")
    assert line == {
        "event": "rpc.finished",
        "log_level": "info",
        "method": DESCRIBE,
        "code": "OK",
        "duration_ms": 7,
        "principal": "User:ANONYMOUS",
    }


@pytest.mark.parametrize(
    ("lines", "events"), [("failed", ["rpc.finished"]), ("none", [])], ids=["failed", "none"]
)
async def test_lines_can_be_had_for_failures_or_not_at_all(
    service: Service, lines: str, events: list[str]
) -> None:
    await service.start(access_log=lines)
    await service.describe()
    service.fails_with(NotLeader("moved"))
    assert (await service.failed_describe()).reason == "NOT_LEADER"
    await service.close()
    assert [line["event"] for line in service.lines] == events


async def test_cancelled_call_is_logged_as_cancelled(service: Service) -> None:
    await service.start()
    service.servicer.act = asyncio.Event().wait
    call = service.admin.DescribeCluster(admin_pb2.DescribeClusterRequest())
    await service.servicer.entered.wait()
    call.cancel()
    assert (await service.line())["code"] == "CANCELLED"


async def test_cancelled_stream_is_logged_as_cancelled(service: Service) -> None:
    await service.start()
    service.servicer.act = asyncio.Event().wait
    call = service.fetch.Read(fetch_pb2.ReadRequest())
    first: Any = await call.read()
    assert first.next_offset == 1
    await service.servicer.entered.wait()
    call.cancel()
    assert (await service.line())["code"] == "CANCELLED"


async def test_call_past_its_deadline_is_logged_as_such(service: Service) -> None:
    await service.start()
    service.servicer.act = asyncio.Event().wait
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.admin.DescribeCluster(admin_pb2.DescribeClusterRequest(), timeout=0.05)
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED
    assert (await service.line())["code"] in {"DEADLINE_EXCEEDED", "CANCELLED"}


async def test_call_without_permission_never_reaches_the_servicer(service: Service) -> None:
    authorizer = NobodyDescribes()
    await service.start(authorizer=authorizer)
    error = await service.failed_describe()
    assert error.reason == "NOT_AUTHORIZED"
    assert error.message == "User:ANONYMOUS may not describe on cluster"
    assert not service.servicer.entered.is_set()
    responses = [each async for each in service.fetch.Read(fetch_pb2.ReadRequest(), timeout=10)]
    assert len(responses) == 2
    assert authorizer.asked == [
        ("User:ANONYMOUS", Permission(ResourceKind.CLUSTER, Operation.DESCRIBE)),
        ("User:ANONYMOUS", Permission(ResourceKind.TOPIC, Operation.READ)),
    ]
    await service.close()
    lines = [(line["method"], line["code"]) for line in service.lines]
    assert lines == [(DESCRIBE, "PERMISSION_DENIED"), (READ, "OK")]


async def test_stream_without_permission_ends_with_the_reason(service: Service) -> None:
    class NobodyReads:
        def allows(self, principal: str, permission: Permission, name: str | None) -> bool:
            return permission.operation is not Operation.READ

    await service.start(authorizer=NobodyReads())
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.fetch.Read(fetch_pb2.ReadRequest(), timeout=10).read()
    assert error_of(caught.value).reason == "NOT_AUTHORIZED"


@pytest.mark.parametrize(
    ("trusted", "principal"), [(True, "User:alice"), (False, "User:ANONYMOUS")]
)
async def test_only_services_speak_for_others(
    service: Service, trusted: bool, principal: str
) -> None:
    authorizer = NobodyDescribes()
    await service.start(authorizer=authorizer, trusts_forwarded=trusted)
    await service.failed_describe(metadata=((FORWARDED_PRINCIPAL, "User:alice"),))
    assert authorizer.asked[0][0] == principal
    assert (await service.line())["principal"] == principal


@pytest.mark.parametrize("named", ["alice", "User:", "User:a b", "User:" + "a" * 300, ":x"])
async def test_principal_of_no_known_form_is_refused(service: Service, named: str) -> None:
    await service.start()
    error = await service.failed_describe(metadata=((FORWARDED_PRINCIPAL, named),))
    assert error.reason == "INVALID_REQUEST"


async def test_method_that_a_servicer_lacks_is_unimplemented(service: Service) -> None:
    await service.start()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await service.admin.ListTopics(admin_pb2.ListTopicsRequest(), timeout=10)
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert error_of(caught.value).reason == "UNSUPPORTED_VERSION"
