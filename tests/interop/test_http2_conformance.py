"""h2spec, the HTTP/2 conformance suite written by others, judges the connection side.

It knows no gRPC, so the responses it wants to see (headers, DATA, trailers) come from a listener
whose handler answers anything; the whole server, which refuses such requests, is judged by it as
well. Strict cases included. A case may fail only by the lists below, and those that are listed
must: a case that passes is taken off its list.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ottla_broker.transport import Server, TlsCredentials
from ottla_broker.transport.addresses import bound_sockets
from ottla_broker.transport.limits import TransportLimits
from ottla_broker.transport.listener import Listener
from ottla_broker.transport.listening import listen
from ottla_broker.transport.stream import (
    GrpcStream,
    MalformedMessage,
    MessageTooLarge,
    StreamReset,
    TruncatedMessage,
)

from .service import CERTIFICATES
from .toolchains import MissingToolchain, judge

# The first test builds the suite.
pytestmark = pytest.mark.timeout(300)

SUITE_SECONDS = 120
CASE_COUNT = 146
Case = tuple[str, str]
Handler = Callable[[GrpcStream], Coroutine[object, object, None]]

# Cases that contradict RFC 9113, which replaced the RFC they were written for.
OUTDATED: Mapping[Case, str] = {
    ("http2/5.3.1", "Sends HEADERS frame that depend on itself"): (
        "RFC 9113, 5.3.2 takes the meaning from priority fields: they are read over"
    ),
    ("http2/5.3.1", "Sends PRIORITY frame that depend on itself"): (
        "RFC 9113, 5.3.2 takes the meaning from priority fields: they are read over"
    ),
    (
        "http2/4.2",
        "Sends a large size HEADERS frame that exceeds the SETTINGS_MAX_FRAME_SIZE",
    ): (
        "its frame of about 20 KiB does not exceed the size announced (RFC 9113, 6.5.2); the list"
        " in it exceeds SETTINGS_MAX_HEADER_LIST_SIZE, which costs the stream alone (10.5.1)"
    ),
}
CONCURRENCY: Case = (
    "http2/5.1.2",
    "Sends HEADERS frames that causes their advertised concurrent stream limit to be exceeded",
)
# The whole server answers requests that are none of gRPC's by their headers alone, and resets their
# streams. Where that is out before the next frames of a case come, they are passed over, as they
# have to be (RFC 9113, 5.1): such a case is judged again.
TRIES_MAX = 5
# Cases that want DATA of a response to a request that is none of gRPC's.
WITHOUT_DATA: Mapping[Case, str] = {
    ("generic/2", "Sends a WINDOW_UPDATE frame on half-closed (remote) stream"): (
        "a response may be a header block alone (RFC 9113, 8.1)"
    ),
    ("generic/2", "Sends a PRIORITY frame on half-closed (remote) stream"): (
        "a response may be a header block alone (RFC 9113, 8.1)"
    ),
}
SKIPPED_WITHOUT_DATA = 4


async def answer_anything(stream: GrpcStream) -> None:
    """Read a request to its end, whatever it is, and answer headers, DATA and trailers."""
    try:
        await _read_all(stream)
        await stream.send_headers(((b":status", b"200"),))
        await stream.send_message((b"anything",))
        await stream.send_trailers(((b"x-end", b"here"),))
    except StreamReset:
        return


async def _read_all(stream: GrpcStream) -> None:
    try:
        while await stream.receive() is not None:
            pass
    except (MalformedMessage, MessageTooLarge, TruncatedMessage):
        return


async def never_answer(stream: GrpcStream) -> None:
    await asyncio.Event().wait()


@asynccontextmanager
async def listening_with(handler: Handler) -> AsyncIterator[Mapping[str, int]]:
    """A listener whose streams `handler` serves, on a port of each kind."""
    handlers: set[asyncio.Task[None]] = set()
    async with asyncio.TaskGroup() as group:

        def on_stream(stream: GrpcStream) -> None:
            task = group.create_task(handler(stream), name="handler")
            handlers.add(task)
            task.add_done_callback(handlers.discard)

        listener: Listener = listen(on_stream, TransportLimits())
        try:
            yield {
                "plaintext": _port_of(listener),
                "tls": _port_of(listener, await _tls()),
            }
        finally:
            await listener.close()
            for task in handlers:
                task.cancel()


def _port_of(listener: Listener, tls: ssl.SSLContext | None = None) -> int:
    """A port that the listener accepts on from now on."""
    (bound,) = bound_sockets("127.0.0.1:0")
    listener.serve(bound, tls)
    return int(bound.getsockname()[1])


@asynccontextmanager
async def whole_server() -> AsyncIterator[Mapping[str, int]]:
    server = Server()
    ports = {
        "plaintext": server.add_insecure_port("127.0.0.1:0"),
        "tls": server.add_secure_port("127.0.0.1:0", _credentials()),
    }
    await server.start()
    try:
        yield ports
    finally:
        await server.stop(None)


async def _tls() -> ssl.SSLContext:
    return await asyncio.to_thread(_credentials().ssl_context)


def _credentials() -> TlsCredentials:
    return TlsCredentials(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")


@pytest.fixture(scope="session")
def h2spec() -> Path:
    try:
        return judge("h2spec")
    except MissingToolchain as missing:
        pytest.skip(str(missing))


class Verdict:
    """What the suite says of a port, from its report."""

    def __init__(self, report: str) -> None:
        self.passed: set[Case] = set()
        self.failed: set[Case] = set()
        self.skipped: set[Case] = set()
        for case in ElementTree.fromstring(report).iter("testcase"):
            kind = self.passed
            if case.find("skipped") is not None:
                kind = self.skipped
            elif case.find("failure") is not None or case.find("error") is not None:
                kind = self.failed
            kind.add((case.attrib["package"], case.attrib["classname"]))


async def verdict_on(
    h2spec: Path, report: Path, *, port: int, tls: bool, sections: tuple[str, ...] = ()
) -> Verdict:
    process = await asyncio.create_subprocess_exec(
        h2spec,
        *sections,
        "--strict",
        *("--host=127.0.0.1", f"--port={port}", f"--junit-report={report}"),
        *(("--tls", "--insecure") if tls else ()),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SUITE_SECONDS):
            output, _ = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    try:
        return Verdict(await asyncio.to_thread(report.read_text))
    except FileNotFoundError:
        raise AssertionError(output.decode()) from None


async def test_the_connection_side_keeps_to_http2(h2spec: Path, tmp_path: Path) -> None:
    async with listening_with(answer_anything) as ports, asyncio.TaskGroup() as group:
        judging = {
            name: group.create_task(
                verdict_on(h2spec, tmp_path / name, port=port, tls=name == "tls"), name=name
            )
            for name, port in ports.items()
        }
        verdicts = {name: await task for name, task in judging.items()}
    for verdict in verdicts.values():
        # How many streams are open at once depends on how fast they are answered: see below.
        assert verdict.failed - {CONCURRENCY} == set(OUTDATED)
        assert verdict.skipped == set()
        assert len(verdict.passed | verdict.failed) == CASE_COUNT


async def test_the_limit_of_concurrent_streams_is_kept(h2spec: Path, tmp_path: Path) -> None:
    async with listening_with(never_answer) as ports:
        for name, port in ports.items():
            verdict = await verdict_on(
                h2spec, tmp_path / name, port=port, tls=name == "tls", sections=("http2/5.1.2",)
            )
            assert (verdict.passed, verdict.failed) == ({CONCURRENCY}, set())


async def test_the_whole_server_keeps_to_http2(h2spec: Path, tmp_path: Path) -> None:
    async with whole_server() as ports:
        async with asyncio.TaskGroup() as group:
            judging = {
                name: group.create_task(
                    verdict_on(h2spec, tmp_path / name, port=port, tls=name == "tls"), name=name
                )
                for name, port in ports.items()
            }
        for name, port in ports.items():
            verdict = judging[name].result()
            assert {*OUTDATED, *WITHOUT_DATA} <= verdict.failed
            for case in verdict.failed - {CONCURRENCY, *OUTDATED, *WITHOUT_DATA}:
                assert await passes_in_the_end(
                    h2spec, tmp_path / name, case, port=port, tls=name == "tls"
                ), case
            assert len(verdict.skipped) == SKIPPED_WITHOUT_DATA
            assert len(verdict.passed | verdict.failed) == CASE_COUNT - SKIPPED_WITHOUT_DATA


async def passes_in_the_end(
    h2spec: Path, report: Path, case: Case, *, port: int, tls: bool
) -> bool:
    for _ in range(TRIES_MAX):
        verdict = await verdict_on(h2spec, report, port=port, tls=tls, sections=(case[0],))
        if case in verdict.passed:
            return True
    return False
