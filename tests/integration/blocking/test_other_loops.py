"""Beside a user's own grpc.aio loops, in notebooks' and other threads: nothing on stderr."""

from __future__ import annotations

import asyncio
import functools
import socket

import pytest
from integration.blocking.cluster_process import ClusterProcess
from integration.blocking.programs import run

from ottla.blocking.quiet_loop import QuietLoop

BESIDE = """
import warnings
warnings.simplefilter("error")
import grpc

async def echo(request, context):
    return request

async def serve_and_call(rounds):
    server = grpc.aio.server()
    method = grpc.unary_unary_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("a.B", {"C": method}),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/a.B/C")
        for _ in range(rounds):
            await asyncio.gather(*[call(b"x") for _ in range(5)])
        while not ends.is_set():
            await call(b"x")
    await server.stop(5)  # orderly: a connection that is cut is worth a line to gRPC

def use_clients(number):
    with (
        ottla.blocking.Producer(bootstrap) as producer,
        ottla.blocking.Consumer(bootstrap, auto_offset_reset="earliest") as consumer,
    ):
        consumer.assign([("beside", number)])
        for _ in range(100):
            producer.send("beside", b"v", partition=number).result()
        offsets.append([next(consumer).offset for _ in range(100)])

ends, offsets = threading.Event(), []
theirs = threading.Thread(target=lambda: asyncio.run(serve_and_call(100)))
users = [threading.Thread(target=use_clients, args=(number,)) for number in range(2)]
for each in [theirs, *users]:
    each.start()
for each in users:
    each.join()
ends.set()
theirs.join()

async def notebook():
    use_clients(2)

ends.clear()
threading.Timer(0, ends.set).start()
asyncio.run(serve_and_call(10))  # the main thread has a loop, too
asyncio.run(notebook())
print([each == list(range(100)) for each in offsets])
"""


@pytest.mark.slow
def test_nothing_is_said_beside_other_loops_that_use_grpc(cluster: ClusterProcess) -> None:
    cluster.create_topic("beside", partition_count=3)
    ended = run(BESIDE, cluster.bootstrap)
    assert ended.errors == ""
    assert (ended.code, ended.lines) == (0, ["[True, True, True]"])


class PollerCompletionQueue:
    """As gRPC's of that name: every loop it is bound to reads the byte that wakes one."""

    def __init__(self) -> None:
        self.read_socket, self.write_socket = socket.socketpair()
        self.read_socket.setblocking(False)
        self.read: list[tuple[str, bytes]] = []

    def bind(self, loop: asyncio.AbstractEventLoop, name: str) -> None:
        loop.add_reader(self.read_socket, functools.partial(self._handle_events, name))

    def _handle_events(self, name: str) -> None:
        self.read.append((name, self.read_socket.recv(1)))

    def close(self) -> None:
        self.read_socket.close()
        self.write_socket.close()


def test_a_byte_that_another_loop_has_read_is_no_error_on_any_loop() -> None:
    poller = PollerCompletionQueue()
    theirs, ours = asyncio.new_event_loop(), QuietLoop(is_leaving=lambda: False)
    errors: list[object] = []
    for loop in (theirs, ours):
        loop.set_exception_handler(lambda _, context: errors.append(context))
    poller.bind(theirs, "theirs")
    poller.bind(ours, "ours")

    async def turn() -> None:
        await asyncio.sleep(0)

    poller.write_socket.send(b"1")
    ready = [theirs._selector.select(0), ours._selector.select(0)]  # type: ignore[attr-defined]  # both see it
    for loop, events in zip((theirs, ours), ready, strict=True):
        loop._process_events(events)  # type: ignore[attr-defined]  # as the loop does after waiting
        loop.run_until_complete(turn())
    for loop in (theirs, ours):
        loop.remove_reader(poller.read_socket)
        loop.close()
    poller.close()
    assert poller.read[0] == ("theirs", b"1")
    assert {data for _, data in poller.read[1:]} == {b""}
    assert "ours" in {name for name, _ in poller.read}
    assert errors == []


def test_what_comes_for_the_loop_after_its_end_is_dropped_and_no_error() -> None:
    loop = QuietLoop(is_leaving=lambda: False)
    called: list[str] = []
    loop.call_soon_threadsafe(called.append, "in time")
    loop.call_soon_threadsafe(loop.stop)
    loop.run_forever()
    loop.close()
    assert loop.call_soon_threadsafe(called.append, "late").cancelled()
    assert called == ["in time"]


def test_other_sockets_are_left_as_they_are() -> None:
    loop = QuietLoop(is_leaving=lambda: False)
    ours, other = socket.socketpair()
    with ours, other:
        loop.add_reader(ours, ours.recv, 1)
        assert type(ours) is socket.socket
        loop.remove_reader(ours)
    loop.close()
