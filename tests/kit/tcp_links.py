"""TCP links between processes of a test, cut at will while the processes go on.

Owns a port of the loopback interface for each address that others reach over links, and passes
bytes on from there. A cut is between two names: of who dialed, and of who is dialed; it holds for
connections in either direction. Several processes may dial one address, as members of a cluster do;
who of them a connection comes from is then looked up among the sockets of their processes. Has a
thread and a loop of its own, so that what a test does meanwhile holds nothing up.

    process ──dials──► port of the links ──(cut?)──► port where the other one listens
"""

from __future__ import annotations

import asyncio
import os
import socket
import struct
import threading
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any, Final, TypeVar

_Value = TypeVar("_Value")

_CHUNK_SIZE: Final = 64 << 10
_CALL_SECONDS: Final = 10.0
_HOST: Final = "127.0.0.1"
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
# From the kernel's headers linux/netlink.h, sock_diag.h and inet_diag.h.
_NETLINK_SOCK_DIAG: Final = 4
_DIAG_BY_FAMILY: Final = 20
_NLM_F_REQUEST: Final = 1
_ANY_STATE: Final = 0xFFFF_FFFF
_NO_COOKIE: Final = (0xFFFF_FFFF, 0xFFFF_FFFF)
_INODE_POSITION: Final = 84
"""Behind the header of 16 bytes, in the message of 72 its last field."""


class Cut(Enum):
    """What a link does that is cut."""

    REFUSED = auto()
    """Connections are reset, and new ones as soon as they are made: the other side is not there."""
    SILENT = auto()
    """Connections stay, and new ones are made, but bytes are held back until the link is healed,
    and so is the end of a connection: a cable that fell out."""


@dataclass
class _Link:
    """Whatever goes between two names. Lives in the loop of the links."""

    passes: asyncio.Event = field(default_factory=asyncio.Event)
    is_refused: asyncio.Event = field(default_factory=asyncio.Event)
    carrying: set[asyncio.Task[None]] = field(default_factory=set)
    """A task for each connection."""

    def heal(self) -> None:
        self.is_refused.clear()
        self.passes.set()

    def cut(self, how: Cut) -> None:
        self.passes.clear()
        if how is Cut.REFUSED:
            self.is_refused.set()
        else:
            self.is_refused.clear()


Dialer = str | Callable[[], Mapping[str, int]]
"""The name of whoever dials; or, of several who may, the process ids by name."""


@dataclass(frozen=True)
class _Entry:
    """One port of the links."""

    target: str
    target_port: Callable[[], int]
    dialer: Dialer


class TcpLinks:
    """All links of a test; made by `running_links`. Its calls block for a moment."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._links: dict[frozenset[str], _Link] = {}
        self._servers: list[asyncio.Server] = []
        self._is_closed = False

    def listen(self, *, target: str, target_port: Callable[[], int], dialer: Dialer) -> int:
        """Another port that leads to a process.

        Args:
            target: the name of who is dialed.
            target_port: where that one listens, asked for with every connection.
            dialer: who dials.
        """
        return self._called(self._listen(_Entry(target, target_port, dialer)))

    def cut(self, name: str, *others: str, how: Cut) -> None:
        """Cuts what goes between one and others; returns once nothing passes any more."""
        self._called(self._cut(name, others, how))

    def heal(self) -> None:
        """Everything passes again, what was held back first."""
        self._called(self._heal())

    def _called(self, work: Coroutine[Any, Any, _Value]) -> _Value:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_SECONDS)

    async def _listen(self, entry: _Entry) -> int:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._serve(entry, reader, writer)

        server = await asyncio.start_server(serve, _HOST, 0)
        self._servers.append(server)
        port: int = server.sockets[0].getsockname()[1]
        return port

    async def _cut(self, name: str, others: tuple[str, ...], how: Cut) -> None:
        for other in others:
            link = self._link(name, other)
            link.cut(how)
            if how is Cut.REFUSED and link.carrying:
                await asyncio.wait(link.carrying)

    async def _heal(self) -> None:
        for link in self._links.values():
            link.heal()

    async def close(self) -> None:
        """Ends every connection. For `running_links`, on the loop."""
        self._is_closed = True
        for link in self._links.values():
            link.cut(Cut.REFUSED)
        # All that this loop does is carrying, or taking a connection that is carried then. A server
        # is not closed before that: asyncio loses what it is just taking.
        while carrying := asyncio.all_tasks() - {asyncio.current_task()}:
            await asyncio.wait(carrying)
        for server in self._servers:
            server.close()
        await asyncio.sleep(0)  # for sockets to be closed

    def _link(self, one: str, other: str) -> _Link:
        ends = frozenset((one, other))
        if ends not in self._links:
            self._links[ends] = link = _Link()
            if self._is_closed:
                link.cut(Cut.REFUSED)
            else:
                link.heal()
        return self._links[ends]

    async def _serve(
        self, entry: _Entry, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        writers = [writer]
        link: _Link | None = None
        try:
            link = await self._link_of(entry, writer)
            link.carrying.add(task)
            async with asyncio.TaskGroup() as group:
                group.create_task(_until_refused(link), name="until-refused")
                group.create_task(_carry(link, entry, reader, writers), name="carry")
        except* OSError:
            pass  # an end is gone, or the link is cut: the other end is told below
        finally:
            for each in writers:
                _end(each, with_reset=link is None or link.is_refused.is_set())
            if link is not None:
                link.carrying.discard(task)

    async def _link_of(self, entry: _Entry, writer: asyncio.StreamWriter) -> _Link:
        """The link that a connection goes over; raises `OSError` if nobody stands behind it."""
        if isinstance(entry.dialer, str):
            return self._link(entry.dialer, entry.target)
        processes = entry.dialer()
        links = [self._link(name, entry.target) for name in processes if name != entry.target]
        if all(link.is_refused.is_set() for link in links):
            raise ConnectionResetError  # whoever it is
        dialed = writer.get_extra_info("peername")[1], writer.get_extra_info("sockname")[1]
        name = await asyncio.to_thread(_dialer_among, processes, dialed)
        if not name:
            raise ConnectionResetError
        return self._link(name, entry.target)


async def _until_refused(link: _Link) -> None:
    await link.is_refused.wait()
    raise ConnectionResetError


async def _carry(
    link: _Link,
    entry: _Entry,
    reader: asyncio.StreamReader,
    writers: list[asyncio.StreamWriter],
) -> None:
    """Dials the other end, and passes bytes on until either end is gone; always raises."""
    await link.passes.wait()
    target_reader, target_writer = await asyncio.open_connection(_HOST, entry.target_port())
    writers.append(target_writer)
    async with asyncio.TaskGroup() as group:
        group.create_task(_pass_on(link, reader, target_writer), name="to-target")
        group.create_task(_pass_on(link, target_reader, writers[0]), name="to-dialer")


async def _pass_on(link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while True:
        data = await reader.read(_CHUNK_SIZE)
        await link.passes.wait()
        if not data:
            raise ConnectionResetError
        writer.write(data)
        await writer.drain()


def _end(writer: asyncio.StreamWriter, *, with_reset: bool) -> None:
    ended: socket.socket | None = writer.get_extra_info("socket")
    if with_reset and ended is not None:
        with suppress(OSError):
            ended.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
    writer.transport.abort()  # what was written is with the kernel already


def _dialer_among(processes: Mapping[str, int], dialed: tuple[int, int]) -> str:
    """Whose socket has these two ports; empty if that is gone already."""
    link = f"socket:[{_inode_of(*dialed)}]"
    for name, process_id in processes.items():
        # The outer failure: the process has ended.
        with suppress(OSError), os.scandir(f"/proc/{process_id}/fd") as descriptors:
            for descriptor in descriptors:
                with suppress(OSError):  # it was closed meanwhile
                    if os.readlink(descriptor) == link:  # noqa: PTH115 - a path costs more
                        return name
    return ""


def _inode_of(port: int, remote_port: int) -> int:
    """What the kernel calls the socket between two ports of the loopback interface; 0: it is gone.

    Asked for with `sock_diag`, which any user may: the list in `/proc/net/tcp` says the same, but
    takes milliseconds where there are many sockets, and members that are cut off dial all the time.
    """
    address = socket.inet_aton(_HOST) + bytes(12)
    ends = struct.pack("!HH", port, remote_port) + 2 * address
    request = struct.pack("=BBBBI", socket.AF_INET, socket.IPPROTO_TCP, 0, 0, _ANY_STATE)
    request += ends + struct.pack("=III", 0, *_NO_COOKIE)
    header = struct.pack("=IHHII", 16 + len(request), _DIAG_BY_FAMILY, _NLM_F_REQUEST, 1, 0)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as kernel:
        kernel.settimeout(_CALL_SECONDS)
        kernel.send(header + request)
        answer = kernel.recv(_CHUNK_SIZE)
    if struct.unpack_from("=H", answer, 4)[0] != _DIAG_BY_FAMILY:
        return 0  # an error: no such socket
    inode: int = struct.unpack_from("=I", answer, _INODE_POSITION)[0]
    return inode


@contextmanager
def running_links() -> Iterator[TcpLinks]:
    """Links at work, all of them ended with the block."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop,), name="tcp-links")
    thread.start()
    links = TcpLinks(loop)
    try:
        yield links
    finally:
        asyncio.run_coroutine_threadsafe(links.close(), loop).result(_CALL_SECONDS)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        asyncio.set_event_loop(None)
        loop.close()
