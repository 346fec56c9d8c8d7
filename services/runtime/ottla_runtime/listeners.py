"""Listeners of a service, written as `name=host:port[,tls]`.

Owns reading those texts, and which address a listener tells others to use. Binding sockets belongs
to the servers. Endpoints are the message that registration and metadata carry.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence
from typing import Final

from ottla.api.cluster.v1.cluster_pb2 import (
    SECURITY_PLAINTEXT,
    SECURITY_TLS,
    Endpoint,
)

_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,62}")
# One label may have 63 characters, a name 253; underscores are common where Docker names hosts.
_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_PORT_DIGITS_MAX: Final = 5
_PORT_MAX: Final = 65_535
_EXAMPLE: Final = "write name=host:port or name=host:port,tls, such as public=0.0.0.0:9092"


def parse_host_port(text: str, *, default_port: int | None = None) -> tuple[str, int]:
    """Host and port of `host:port`, with IPv6 addresses in brackets.

    Raises:
        ValueError: the text is not of that form; the message says what is wrong.
    """
    host, port_text = _split(text)
    if ":" in host:
        try:
            ipaddress.IPv6Address(host)
        except ValueError:
            raise ValueError(f"{text!r}: {host!r} is not an IPv6 address") from None
    elif not _HOST.fullmatch(host):
        raise ValueError(f"{text!r}: {host!r} is not a host name or address")
    if not port_text:
        if default_port is None:
            raise ValueError(f"{text!r} has no port; write host:port")
        return host, default_port
    if not (port_text.isascii() and port_text.isdecimal() and len(port_text) <= _PORT_DIGITS_MAX):
        raise ValueError(f"{text!r}: port {port_text!r} is not a number")
    port = int(port_text)
    if port > _PORT_MAX:
        raise ValueError(f"{text!r}: port {port} is above {_PORT_MAX}")
    return host, port


def _split(text: str) -> tuple[str, str]:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or ":" not in host:
            raise ValueError(f"{text!r}: brackets belong around an IPv6 address, as [::1]:9092")
        return host, rest[1:]
    if text.count(":") > 1:
        raise ValueError(f"{text!r}: an IPv6 address needs brackets, as [::1]:9092")
    host, _, port = text.partition(":")
    return host, port


def parse_listener(text: str) -> Endpoint:
    """The listener written as `name=host:port[,tls]`; port 0 takes any free one.

    Raises:
        ValueError: the text is not of that form; the message says what is wrong and shows one.
    """
    name, equals, address = text.partition("=")
    if not equals or not _NAME.fullmatch(name):
        raise ValueError(f"listener {text!r} has no name; {_EXAMPLE}")
    address, comma, protection = address.partition(",")
    if comma and protection not in {"tls", "plaintext"}:
        raise ValueError(f"listener {text!r}: {protection!r} is not tls or plaintext; {_EXAMPLE}")
    try:
        host, port = parse_host_port(address)
    except ValueError as error:
        raise ValueError(f"listener {text!r}: {error}; {_EXAMPLE}") from None
    security = SECURITY_TLS if protection == "tls" else SECURITY_PLAINTEXT
    return Endpoint(listener=name, host=host, port=port, security=security)


def parse_listeners(texts: Sequence[str]) -> tuple[Endpoint, ...]:
    """Listeners of a service, each name and each address once.

    Raises:
        ValueError: one is not a listener, or two share a name or an address.
    """
    listeners = tuple(parse_listener(text) for text in texts)
    names = [listener.listener for listener in listeners]
    addresses = [format_host_port(each.host, each.port) for each in listeners if each.port]
    for values, what in ((names, "name"), (addresses, "address")):
        twice = next((value for value in values if values.count(value) > 1), None)
        if twice is not None:
            raise ValueError(f"two listeners have the {what} {twice}")
    return listeners


def advertised_endpoints(
    listeners: Sequence[Endpoint], advertised: Sequence[str], ports: Mapping[str, int]
) -> tuple[Endpoint, ...]:
    """What a service tells others to use for each of its listeners.

    Args:
        listeners: what the service listens on.
        advertised: `name=host:port` for listeners that others reach elsewhere; port 0 stands for
            the port that the listener got.
        ports: the port that each listener got, by name.

    Raises:
        ValueError: an advertised name is no listener, or a listener stands on every address of
            the machine and nothing says how others reach it.
    """
    told = {endpoint.listener: endpoint for endpoint in parse_listeners(advertised)}
    names = {listener.listener for listener in listeners}
    for name in told:
        if name not in names:
            raise ValueError(f"advertised {name!r} is no listener; there are {sorted(names)}")
    answers = []
    for listener in listeners:
        chosen = told.get(listener.listener, listener)
        if is_wildcard(chosen.host):
            raise ValueError(
                f"listener {listener.listener!r} stands on every address ({chosen.host}); say how"
                f" others reach it, as {listener.listener}=broker-1.example.org:{listener.port}"
            )
        answers.append(
            Endpoint(
                listener=listener.listener,
                host=chosen.host,
                port=chosen.port or ports[listener.listener],
                security=listener.security,
            )
        )
    return tuple(answers)


def is_wildcard(host: str) -> bool:
    """Whether a listener on `host` takes connections on every address of the machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def format_host_port(host: str, port: int) -> str:
    """`host:port`, with brackets around an IPv6 address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
