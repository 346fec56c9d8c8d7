"""A client that sends what no stock one would: h2 on a socket, headers and bytes as given."""

from __future__ import annotations

import asyncio
import ssl
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import h2.config
import h2.connection
import h2.events

Header = tuple[str, str]


def framed(payload: bytes, *, compressed: int = 0) -> bytes:
    """A message with its prefix."""
    return struct.pack(">BI", compressed, len(payload)) + payload


def request_headers(path: str, *, without: str = "", extra: Sequence[Header] = ()) -> list[Header]:
    """Headers of a call; `extra` replaces what it names among the usual ones, or is added."""
    usual = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "localhost"),
        ("te", "trailers"),
        ("content-type", "application/grpc"),
    ]
    replaced = {name for name, _ in extra}
    kept = [item for item in usual if item[0] != without and item[0] not in replaced]
    pseudo = [item for item in extra if item[0].startswith(":")]
    return [*pseudo, *kept, *(item for item in extra if item not in pseudo)]


@dataclass
class Answer:
    """What came back on one stream."""

    blocks: list[dict[str, str]] = field(default_factory=list)
    data: bytes = b""
    reset: int | None = None

    @property
    def status(self) -> tuple[int, str]:
        """GRPC's code and message, from the last block."""
        last = self.blocks[-1]
        return int(last["grpc-status"]), last.get("grpc-message", "")


class RawClient:
    """One connection; `call` sends a request and reads its answer."""

    def __init__(self, port: int, *, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        configuration = h2.config.H2Configuration(
            client_side=True,
            header_encoding="utf-8",
            validate_outbound_headers=False,
            normalize_outbound_headers=False,
        )
        self._h2 = h2.connection.H2Connection(configuration)

    async def __aenter__(self) -> Self:
        self._reader, self._writer = await asyncio.open_connection(
            "127.0.0.1",
            self._port,
            ssl=self._tls,
            server_hostname="localhost" if self._tls else None,
        )
        self._h2.initiate_connection()
        return self

    async def __aexit__(self, *_: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def call(self, headers: list[Header], *pieces: bytes, end: bool = True) -> Answer:
        """Send a request with its body in these pieces, and read to the end of the response."""
        stream_id = self._h2.get_next_available_stream_id()
        self._h2.send_headers(stream_id, headers, end_stream=end and not pieces)
        for number, piece in enumerate(pieces, 1):
            self._h2.send_data(stream_id, piece, end_stream=end and number == len(pieces))
        answer = Answer()
        while not await self._received(stream_id, answer):
            pass
        return answer

    async def _received(self, stream_id: int, answer: Answer) -> bool:
        self._writer.write(self._h2.data_to_send())
        received = await self._reader.read(65_536)
        if not received:
            raise ConnectionError("the server closed the connection")
        ended = False
        for event in self._h2.receive_data(received):
            match event:
                case h2.events.ResponseReceived() | h2.events.TrailersReceived():
                    answer.blocks.append({str(name): str(value) for name, value in event.headers})
                case h2.events.DataReceived():
                    answer.data += event.data
                    self._h2.acknowledge_received_data(event.flow_controlled_length, stream_id)
                case h2.events.StreamReset():
                    answer.reset = event.error_code
                    ended = True
                case h2.events.StreamEnded():
                    ended = True
        return ended
