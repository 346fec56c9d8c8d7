"""Where an etcd cluster is, and how to talk to it: read from one connect string and a few settings.

Owns `EtcdSettings` and the form of the connect string. Pure: files are named here and read when the
store opens.

    [http://|https://]host[:2379],[…]host[:2379][/prefix]
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, NoReturn, Self

from ottla.protocol.errors import InvalidConfig
from ottla_runtime.listeners import format_host_port, parse_host_port

DEFAULT_PORT: Final = 2379
DEFAULT_PREFIX: Final = "ottla"
ENDPOINTS_MAX: Final = 16
PREFIX_BYTES_MAX: Final = 128
# A write that was on its way to a leader that died is answered by nobody; another is elected within
# two seconds, and no write shall wait much longer than that to be told.
REQUEST_TIMEOUT_MS: Final = 2_000
# A member that fell silent may cost a lease of two seconds no more than a part of its time.
ATTEMPT_TIMEOUT_MS: Final = 600
OPEN_TIMEOUT_MS: Final = 10_000
ANSWER_BYTES_MAX: Final = 64 * 1024 * 1024
_CONNECT_STRING_MAX: Final = 8_192
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_EXAMPLE: Final = "write host:2379,host:2379/prefix, with https:// in front for TLS"


@dataclass(frozen=True, slots=True)
class EtcdEndpoint:
    """Where one member of the etcd cluster listens for clients."""

    host: str
    port: int

    def __str__(self) -> str:
        return format_host_port(self.host, self.port)


@dataclass(frozen=True, slots=True)
class EtcdTls:
    """Files of an encrypted connection, in PEM."""

    ca_path: Path | None = None
    """Authorities that may sign etcd's certificate; None: those that gRPC brings."""
    cert_path: Path | None = None
    """Certificate to show to etcd, with its key: for mutual TLS."""
    key_path: Path | None = None


@dataclass(frozen=True, slots=True)
class EtcdSettings:
    """All that a store needs to know of its etcd."""

    endpoints: tuple[EtcdEndpoint, ...]
    prefix: bytes
    """What every key begins with in etcd; nobody outside of the store sees it."""
    tls: EtcdTls | None = None
    username: str = ""
    """Empty: no logging in."""
    password: str = field(default="", repr=False)
    request_timeout_ms: int = REQUEST_TIMEOUT_MS
    """How long a call may take in all, on whichever members."""
    attempt_timeout_ms: int = ATTEMPT_TIMEOUT_MS
    """How long one member may take for what another can answer as well."""
    open_timeout_ms: int = OPEN_TIMEOUT_MS
    """How long opening waits for an etcd that is not there yet."""
    answer_bytes_max: int = ANSWER_BYTES_MAX
    """Largest answer that is taken; etcd cuts what watches get into pieces of about 2 MiB."""

    def __post_init__(self) -> None:
        """Holds the settings to their bounds; raises `InvalidConfig`."""
        if not 1 <= len(self.endpoints) <= ENDPOINTS_MAX:
            _refuse(f"an etcd cluster has 1 to {ENDPOINTS_MAX} addresses")
        if len(self.prefix) > PREFIX_BYTES_MAX:
            _refuse(f"the prefix of etcd's keys has more than {PREFIX_BYTES_MAX} bytes")
        if self.tls is not None and (self.tls.cert_path is None) != (self.tls.key_path is None):
            _refuse("a client certificate and its key belong together: give both or neither")
        if self.password and not self.username:
            _refuse("there is a password for etcd, but no user name")
        if self.username and not self.password:
            _refuse(f"there is no password for etcd's user {self.username!r}")
        if not 1 <= self.attempt_timeout_ms <= self.request_timeout_ms <= self.open_timeout_ms:
            _refuse("an attempt at etcd lasts no longer than a request, which fits into opening")

    @classmethod
    def parsed(
        cls,
        connect: str,
        *,
        ca_path: Path | None = None,
        cert_path: Path | None = None,
        key_path: Path | None = None,
        username: str = "",
        password: str = "",
        request_timeout_ms: int = REQUEST_TIMEOUT_MS,
    ) -> Self:
        """The settings for a connect string; files of TLS turn TLS on where it leaves that open.

        Raises:
            InvalidConfig: something is wrong; the message says what is expected.
        """
        scheme, endpoints, prefix = parse_connect_string(connect)
        tls = None
        if scheme == "https" or any(path is not None for path in (ca_path, cert_path, key_path)):
            if scheme == "http":
                _refuse(f"{connect!r} says http://, but there are files for TLS; say https://")
            tls = EtcdTls(ca_path, cert_path, key_path)
        return cls(
            endpoints,
            prefix,
            tls=tls,
            username=username,
            password=password,
            request_timeout_ms=request_timeout_ms,
            attempt_timeout_ms=min(ATTEMPT_TIMEOUT_MS, request_timeout_ms),
            open_timeout_ms=max(OPEN_TIMEOUT_MS, request_timeout_ms),
        )


def parse_connect_string(text: str) -> tuple[str, tuple[EtcdEndpoint, ...], bytes]:
    """The scheme ("" where none is said), the endpoints and the keys' prefix of a connect string.

    Raises:
        InvalidConfig: it is not of that form; the message says what is wrong and shows one.
    """
    if len(text) > _CONNECT_STRING_MAX:
        _refuse(f"etcd's connect string has more than {_CONNECT_STRING_MAX} characters")
    if "@" in text:
        # Not shown: what stands before it is a password.
        _refuse(
            "etcd's connect string holds no user and no password: give metadata.store.username "
            f"and metadata.store.password; {_EXAMPLE}"
        )
    addresses, prefix = _split_prefix(text.strip())
    schemes: set[str] = set()
    endpoints: list[EtcdEndpoint] = []
    for part in addresses.split(","):
        scheme, address = _split_scheme(part.strip())
        schemes.add(scheme)
        try:
            host, port = parse_host_port(address, default_port=DEFAULT_PORT)
        except ValueError as error:
            _refuse(f"etcd's connect string {text!r}: {error}; {_EXAMPLE}")
        if port == 0:
            _refuse(f"etcd's connect string {text!r}: nobody listens on port 0; {_EXAMPLE}")
        endpoints.append(EtcdEndpoint(host, port))
    given = schemes - {""}
    if len(given) > 1:
        _refuse(f"etcd's connect string {text!r} mixes http:// and https://; {_EXAMPLE}")
    if len(set(endpoints)) < len(endpoints):
        _refuse(f"etcd's connect string {text!r} names an address twice; {_EXAMPLE}")
    return next(iter(given), ""), tuple(endpoints), key_prefix(prefix)


def key_prefix(path: str) -> bytes:
    """What keys begin with for a prefix as people write it: `a/b` and `/a/b/` are `/a/b/`.

    Raises:
        InvalidConfig: it is no path of plain names.
    """
    segments = path.strip("/").split("/") if path.strip("/") else [DEFAULT_PREFIX]
    _check_segments(path, segments)
    return "/{}/".format("/".join(segments)).encode("ascii")


def _check_segments(path: str, segments: Iterable[str]) -> None:
    for segment in segments:
        if not _SEGMENT.fullmatch(segment):
            _refuse(
                f"etcd's prefix {path!r} is not a path of letters, digits, '.', '_' and '-'; "
                f"{_EXAMPLE}"
            )


def _split_prefix(text: str) -> tuple[str, str]:
    """The addresses, and what stands behind the first slash that is not part of a scheme."""
    begin = 0
    for match in _SCHEME.finditer(text):
        begin = match.end()
    addresses, _, prefix = text[begin:].partition("/")
    return text[:begin] + addresses, prefix


def _split_scheme(text: str) -> tuple[str, str]:
    match = _SCHEME.match(text)
    if match is None:
        return "", text
    scheme = match.group(1).lower()
    if scheme not in {"http", "https"}:
        _refuse(f"etcd is reached by http:// or https://, not {match.group(0)!r}; {_EXAMPLE}")
    return scheme, text[match.end() :]


def _refuse(message: str) -> NoReturn:
    raise InvalidConfig(message)
