"""How bytes get through a socket: plaintext, where the kernel sends files, or TLS.

A port is a thin, non-blocking view of one socket. It raises BlockingIOError when the socket is
not ready, OSError when the connection is gone, and `TruncatedFile` when a range is longer than
its file. Nothing here knows HTTP/2, the event loop, or who waits.

The rule of TLS that a write not accepted must be repeated with the same bytes holds because the
writer keeps its output in order and gathers it anew from the same place.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from ottla_broker.transport.stream import FileRange

# glibc's and Linux's bound on the pieces of one gathered write.
PIECES_MAX = 1_000
_JOINED_SIZE_MAX = 128 * 1024


class TruncatedFile(Exception):  # noqa: N818 - reads as the condition it is
    """A file ended inside a range that was promised to the peer."""


class NotHttp2(ConnectionError):  # noqa: N818 - reads as the condition it is
    """The TLS handshake did not choose HTTP/2."""


class BytePort(Protocol):
    """One connected socket."""

    @property
    def sends_files(self) -> bool:
        """`send_file` works without copying through this process."""
        ...

    @property
    def reads_when_writable(self) -> bool:
        """The last receive waits for the socket to become writable."""
        ...

    @property
    def may_hold_received_bytes(self) -> bool:
        """Received bytes may wait in this process, where polling the socket cannot see them."""
        ...

    def fileno(self) -> int: ...

    def handshake(self) -> None:
        """Go on with the handshake; returns when it is done, BlockingIOError until then.

        Raises:
            NotHttp2: it is done, and another protocol was chosen, or none.
        """
        ...

    def receive_into(self, buffers: Sequence[memoryview]) -> int:
        """Receive into the buffers in turn; 0 at the end of the stream."""
        ...

    def send(self, pieces: Sequence[bytes | memoryview], *, more: bool) -> int:
        """Send as many bytes as the socket takes; `more` follows at once."""
        ...

    def send_file(self, piece: FileRange) -> int:
        """Send the beginning of a file range; returns how much."""
        ...

    def finish_sending(self) -> None:
        """Tell the peer that nothing more comes."""
        ...

    def auth_context(self) -> Mapping[str, Sequence[bytes]]: ...

    def close(self) -> None: ...


class PlainPort:
    """A TCP socket as it is."""

    sends_files = True
    reads_when_writable = False
    may_hold_received_bytes = False

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        self._descriptor = sock.fileno()

    def fileno(self) -> int:
        return self._descriptor

    def handshake(self) -> None:
        """Plaintext needs none."""

    def receive_into(self, buffers: Sequence[memoryview]) -> int:
        if len(buffers) == 1:
            return self._socket.recv_into(buffers[0])
        return self._socket.recvmsg_into(buffers)[0]

    def send(self, pieces: Sequence[bytes | memoryview], *, more: bool) -> int:
        flags = socket.MSG_MORE if more else 0
        if len(pieces) == 1:
            return self._socket.send(pieces[0], flags)
        return self._socket.sendmsg(pieces, (), flags)

    def send_file(self, piece: FileRange) -> int:
        sent = os.sendfile(self._descriptor, piece.file.fileno(), piece.position, piece.size)
        if not sent:
            raise TruncatedFile(f"no bytes at {piece.position}")
        return sent

    def finish_sending(self) -> None:
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {}

    def close(self) -> None:
        self._socket.close()


class TlsPort:
    """A TCP socket under TLS; file bytes are read and written like any others."""

    sends_files = False
    may_hold_received_bytes = True

    def __init__(self, sock: socket.socket, context: ssl.SSLContext) -> None:
        self._socket = context.wrap_socket(
            sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
        )
        self._descriptor = self._socket.fileno()
        self.reads_when_writable = False

    def fileno(self) -> int:
        return self._descriptor

    def handshake(self) -> None:
        self.reads_when_writable = False
        try:
            self._socket.do_handshake()
        except ssl.SSLWantReadError as error:
            raise BlockingIOError from error
        except ssl.SSLWantWriteError as error:
            self.reads_when_writable = True
            raise BlockingIOError from error
        if self._socket.selected_alpn_protocol() != "h2":
            raise NotHttp2("no ALPN h2")

    def receive_into(self, buffers: Sequence[memoryview]) -> int:
        self.reads_when_writable = False
        try:
            return self._socket.recv_into(buffers[0])
        except ssl.SSLWantReadError as error:
            raise BlockingIOError from error
        except ssl.SSLWantWriteError as error:
            self.reads_when_writable = True
            raise BlockingIOError from error

    def send(self, pieces: Sequence[bytes | memoryview], *, more: bool) -> int:
        joined = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        sent = 0
        view = memoryview(joined)
        try:
            # OpenSSL takes a record at a time; go on until the socket is full.
            while sent < len(view):
                sent += self._socket.send(view[sent : sent + _JOINED_SIZE_MAX])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError) as error:
            if not sent:
                raise BlockingIOError from error
        return sent

    def send_file(self, piece: FileRange) -> int:
        raise NotImplementedError("file bytes are read and sent through TLS")

    def finish_sending(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self._socket.unwrap()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        context: dict[str, Sequence[bytes]] = {
            "transport_security_type": [b"ssl"],
            "security_level": [b"TSI_PRIVACY_AND_INTEGRITY"],
        }
        certificate: dict[str, Any] = dict(self._socket.getpeercert() or {})
        if not certificate:
            return context
        names = [
            value.encode()
            for parts in certificate.get("subject", ())
            for key, value in parts
            if key == "commonName"
        ]
        if names:
            context["x509_common_name"] = names
        alternatives = [str(value).encode() for _, value in certificate.get("subjectAltName", ())]
        if alternatives:
            context["x509_subject_alternative_name"] = alternatives
        binary = self._socket.getpeercert(binary_form=True)
        if binary:
            context["x509_pem_cert"] = [ssl.DER_cert_to_PEM_cert(binary).encode()]
        return context

    def close(self) -> None:
        self._socket.close()
