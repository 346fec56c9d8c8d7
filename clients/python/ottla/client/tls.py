"""What a client's encrypted connections stand on: an authority, perhaps a certificate, names.

Owns `Tls` as users write it, and reading the files it names with errors that name them. Free of
gRPC: `channels` makes credentials of what was read.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from ottla.protocol.errors import InvalidConfig

PEM_SIZE_MAX = 1 << 20


@dataclass(frozen=True)
class Tls:
    """Connections are encrypted; the files are PEM, read once when the client is opened.

    Example:
        ottla.Producer("broker.example:9093", tls=ottla.Tls(ca_file="ca.pem"))

    Attributes:
        ca_file: authorities that brokers' certificates are checked against; None: gRPC's own list.
        certificate_file: the client's certificate chain, where brokers ask for one.
        key_file: the private key of that certificate, not encrypted.
        server_name: the name brokers' certificates must carry, instead of the host each is
            reached at.

    Raises:
        InvalidConfig: a certificate without its key, or a key without its certificate.
    """

    ca_file: str | None = None
    certificate_file: str | None = None
    key_file: str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        if (self.certificate_file is None) != (self.key_file is None):
            raise InvalidConfig(
                "tls: certificate_file and key_file go together; "
                f"certificate_file={self.certificate_file!r}, key_file={self.key_file!r}"
            )
        if self.server_name == "":
            raise InvalidConfig("tls: server_name is a host name, not empty")


class TlsMaterial(NamedTuple):
    """What the files of a `Tls` hold, checked."""

    ca: bytes | None
    certificate: bytes | None
    key: bytes | None


def read_tls(tls: Tls) -> TlsMaterial:
    """The contents of its files; blocks while it reads.

    Raises:
        InvalidConfig: a file can't be read or isn't what it should be; the message names it.
    """
    ca = None if tls.ca_file is None else _read("ca_file", tls.ca_file)
    if ca is not None:
        _check_authorities(ca, str(tls.ca_file))
    if tls.certificate_file is None or tls.key_file is None:
        return TlsMaterial(ca, None, None)
    certificate = _read("certificate_file", tls.certificate_file)
    key = _read("key_file", tls.key_file)
    _check_pair(tls.certificate_file, tls.key_file)
    return TlsMaterial(ca, certificate, key)


def _read(setting: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            content = file.read(PEM_SIZE_MAX + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise InvalidConfig(f"tls: {setting} {path!r} can't be read: {reason}") from error
    if len(content) > PEM_SIZE_MAX:
        raise InvalidConfig(f"tls: {setting} {path!r} is larger than {PEM_SIZE_MAX} bytes")
    if b"-----BEGIN " not in content:
        raise InvalidConfig(f"tls: {setting} {path!r} is not a PEM file")
    return content


def _check_authorities(ca: bytes, path: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=ca.decode("ascii", errors="replace"))
    except (ssl.SSLError, ValueError) as error:
        raise InvalidConfig(f"tls: ca_file {path!r} holds no certificates: {error}") from error


def _check_pair(certificate_path: str, key_path: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        # A key that is encrypted fails here, instead of asking at a terminal.
        context.load_cert_chain(certificate_path, key_path, password=lambda: "")
    except (OSError, ValueError) as error:
        raise InvalidConfig(
            f"tls: certificate_file {certificate_path!r} and key_file {key_path!r} are no pair of "
            f"a certificate and its unencrypted key: {error}"
        ) from error
