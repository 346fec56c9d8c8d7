"""gRPC's own interoperability client for Go judges the server, in plaintext and with TLS.

Its client has no cases of compression; those are in `test_stock_clients.py` and the RPC suite.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from google.protobuf.descriptor import ServiceDescriptor

from ottla_broker.transport import Server, TlsCredentials

from .judged_service import JudgedServicer, add_judged_service, compiled_service
from .service import CERTIFICATES
from .toolchains import MissingToolchain, judge

# The first test builds the client.
pytestmark = pytest.mark.timeout(300)

CASE_SECONDS = 30
CASES = (
    "empty_unary",
    "large_unary",
    "client_streaming",
    "server_streaming",
    "ping_pong",
    "empty_stream",
    "custom_metadata",
    "status_code_and_message",
    "special_status_message",
    "unimplemented_method",
    "unimplemented_service",
    "cancel_after_begin",
    "cancel_after_first_response",
    "timeout_on_sleeping_server",
)


@pytest.fixture(scope="session")
def interop_client() -> Path:
    try:
        return judge("client")
    except MissingToolchain as missing:
        pytest.skip(str(missing))


class JudgedServer:
    """The service on a port of each kind."""

    def __init__(self, service: ServiceDescriptor) -> None:
        self.server = Server()
        self.servicer: JudgedServicer = add_judged_service(self.server, service)
        credentials = TlsCredentials(CERTIFICATES / "server.pem", CERTIFICATES / "server.key")
        self._arguments: dict[str, Sequence[str]] = {
            "plaintext": (f"--server_port={self.server.add_insecure_port('127.0.0.1:0')}",),
            "tls": (
                f"--server_port={self.server.add_secure_port('127.0.0.1:0', credentials)}",
                "--use_tls",
                "--use_test_ca",
                f"--ca_file={CERTIFICATES / 'ca.pem'}",
            ),
        }

    async def judge(self, client: Path, *, port: str, case: str) -> str:
        """Run one case; returns what the client complained of, which is nothing when it passed."""
        process = await asyncio.create_subprocess_exec(
            client,
            "--server_host=localhost",
            f"--test_case={case}",
            *self._arguments[port],
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(CASE_SECONDS):
                _, errors = await process.communicate()
        except BaseException:
            process.kill()
            await process.wait()
            raise
        return "" if process.returncode == 0 else errors.decode()


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> ServiceDescriptor:
    return compiled_service(tmp_path_factory.mktemp("judges"))


@pytest.fixture
async def judged(service: ServiceDescriptor) -> AsyncIterator[JudgedServer]:
    served = JudgedServer(service)
    await served.server.start()
    yield served
    await served.server.stop(None)


@pytest.mark.parametrize("port", ["plaintext", "tls"])
@pytest.mark.parametrize("case", CASES)
async def test_case_passes(
    judged: JudgedServer, interop_client: Path, port: str, case: str
) -> None:
    assert await judged.judge(interop_client, port=port, case=case) == ""


async def test_a_case_that_the_server_fails_is_told(
    judged: JudgedServer, interop_client: Path
) -> None:
    """The client judges: a server that gets sizes wrong does not pass."""
    judged.servicer.payload_size_offset = 1
    complaint = await judged.judge(interop_client, port="plaintext", case="large_unary")
    assert "len 314160; want" in complaint
