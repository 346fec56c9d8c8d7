"""Addresses a server listens on: `host:port` parsed and bound.

Owns the sockets only until the listener takes them. Binding happens when the address is added, so
that the caller learns an ephemeral port, and a port in use is an error then and not at start.
"""

from __future__ import annotations

import contextlib
import errno
import re
import socket

_ADDRESS = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.%\w]+)\]|(?P<host>[^:\[\]]*)):(?P<port>[0-9]{1,5})")
_PORT_MAX = 65535
_BACKLOG = 1024
_FAMILY_MISSING = (errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL)
_SocketAddress = tuple[socket.AddressFamily, str, int]


def host_and_port(address: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` in its parts; an empty host means every interface.

    Raises:
        ValueError: it is neither.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None or int(match["port"]) > _PORT_MAX:
        raise ValueError(f"address must be host:port or [v6]:port, not {address!r}")
    return match["v6"] or match["host"] or "", int(match["port"])


def bound_sockets(address: str) -> list[socket.socket]:
    """A listening socket for every address that `address` resolves to, all on one port.

    They listen at once, so that a port in use is known now; connections wait in the backlog until
    somebody accepts them. Of several addresses, those of a family this machine lacks are left out.

    Raises:
        ValueError: `address` is not `host:port`.
        RuntimeError: it cannot be bound, as `grpc.aio` raises it.
    """
    host, port = host_and_port(address)
    with contextlib.ExitStack() as undo:
        try:
            resolved = _resolved(host, port)
            sockets = _bound(resolved, undo)
        except OSError as error:
            raise RuntimeError(f"Failed to bind to address {address}: {error}") from error
        undo.pop_all()
    return sockets


def _resolved(host: str, port: int) -> list[_SocketAddress]:
    found = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    unique = dict.fromkeys((family, sockaddr[:2]) for family, _, _, _, sockaddr in found)
    return [(family, str(host), int(port)) for family, (host, port) in unique]


def _bound(resolved: list[_SocketAddress], undo: contextlib.ExitStack) -> list[socket.socket]:
    sockets: list[socket.socket] = []
    lacking: OSError | None = None
    for family, host, port in resolved:
        try:
            bound = undo.enter_context(socket.socket(family, socket.SOCK_STREAM))
            if family == socket.AF_INET6:
                bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, len(resolved) > 1)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.setblocking(False)
            bound.bind((host, sockets[0].getsockname()[1] if sockets else port))
            bound.listen(_BACKLOG)
        except OSError as error:
            if len(resolved) == 1 or error.errno not in _FAMILY_MISSING:
                raise
            lacking = error
        else:
            sockets.append(bound)
    if not sockets and lacking is not None:
        raise lacking
    return sockets
