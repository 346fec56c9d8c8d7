"""A client made of raw frames, driving a `ServerConnection` without any I/O.

It owns the client's header compression and the bookkeeping of what the server has answered;
it checks nothing by itself, so that tests can break every rule.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hpack import Decoder, Encoder

from ottla_broker.transport.http2 import Http2Limits, ServerConnection
from ottla_broker.transport.http2 import frames as wire
from ottla_broker.transport.http2.events import Event
from ottla_broker.transport.stream import FileRange, Header, Part

REQUEST: list[Header] = [
    (b":method", b"POST"),
    (b":scheme", b"http"),
    (b":path", b"/ottla.Test/Call"),
    (b":authority", b"localhost"),
    (b"te", b"trailers"),
    (b"content-type", b"application/grpc"),
]
RESPONSE: list[Header] = [(b":status", b"200"), (b"content-type", b"application/grpc")]
TRAILERS: list[Header] = [(b"grpc-status", b"0")]


@dataclass(frozen=True)
class Frame:
    """One frame the server has sent."""

    kind: int
    flags: int
    stream_id: int
    payload: bytes

    @property
    def code(self) -> int:
        """The error code of RST_STREAM or GOAWAY."""
        start = 4 if self.kind == wire.GOAWAY else 0
        return int.from_bytes(self.payload[start : start + 4], "big")

    @property
    def number(self) -> int:
        """The first 32 bits: an increment, or the last stream of a GOAWAY."""
        return int.from_bytes(self.payload[:4], "big")


def frame(kind: int, flags: int, stream_id: int, payload: bytes = b"") -> bytes:
    return wire.frame_header(len(payload), kind, flags, stream_id) + payload


def joined(parts: Sequence[Part]) -> bytes:
    """Output as it would be on the wire; a file range reads as zeros."""
    return b"".join(
        bytes(part.size) if isinstance(part, FileRange) else bytes(part) for part in parts
    )


def parse(data: bytes) -> list[Frame]:
    frames = []
    while data:
        size = int.from_bytes(data[:3], "big")
        assert len(data) >= 9 + size, "output ends inside a frame"
        stream_id = int.from_bytes(data[5:9], "big")
        frames.append(Frame(data[3], data[4], stream_id, data[9 : 9 + size]))
        data = data[9 + size :]
    return frames


class Client:
    """The arranged context of a test: a connection, and the frames between."""

    def __init__(self, limits: Http2Limits | None = None, *, greet: bool = True) -> None:
        self.server = ServerConnection(limits or Http2Limits())
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.now_ms = 1_000
        self.greeting: list[Frame] = []
        if greet:
            self.send(wire.PREFACE + wire.settings_frame([]))
            self.greeting = self.answers()

    def send(self, data: bytes) -> list[Event]:
        return self.server.receive_data(memoryview(data), now_ms=self.now_ms)

    def output(self, *, size_max: int = 1 << 20) -> list[Part]:
        parts: list[Part] = []
        while more := self.server.data_to_send(
            size_max=size_max, now_ms=self.now_ms, probe=lambda _: True
        ):
            parts += more
        return parts

    def answers(self) -> list[Frame]:
        return parse(joined(self.output()))

    def headers(
        self, headers: Sequence[Header], *, stream_id: int = 1, flags: int = wire.FLAG_END_HEADERS
    ) -> bytes:
        return frame(wire.HEADERS, flags, stream_id, self.encoder.encode(headers))

    def open(self, stream_id: int = 1, *, end_stream: bool = False) -> list[Event]:
        flags = wire.FLAG_END_HEADERS | (wire.FLAG_END_STREAM if end_stream else 0)
        return self.send(self.headers(REQUEST, stream_id=stream_id, flags=flags))

    def data(self, payload: bytes, *, stream_id: int = 1, flags: int = 0) -> list[Event]:
        return self.send(frame(wire.DATA, flags, stream_id, payload))

    def settings(self, *values: tuple[int, int]) -> list[Event]:
        return self.send(wire.settings_frame(values))

    def decode(self, block: bytes) -> list[Header]:
        return [(bytes(name), bytes(value)) for name, value in self.decoder.decode(block, raw=True)]


class FakeFile:
    """A `FileOwner` that counts its holders."""

    def __init__(self, descriptor: int = -1) -> None:
        self.descriptor = descriptor
        self.holders = 1

    def fileno(self) -> int:
        assert self.holders > 0, "used after the last release"
        return self.descriptor

    def acquire(self) -> None:
        assert self.holders > 0, "acquired after the last release"
        self.holders += 1

    def release(self) -> None:
        assert self.holders > 0, "released too often"
        self.holders -= 1
