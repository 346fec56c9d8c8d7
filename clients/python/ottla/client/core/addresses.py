"""Broker addresses as people write them: `host[:port],…`.

Owns reading such a list (default port 9092, IPv6 in brackets) and what is allowed in it. Pure: what
names resolve to is `ottla.client.bootstrap`'s.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final, NamedTuple

from ottla.protocol.errors import InvalidRequest

DEFAULT_PORT: Final = 9092
ADDRESSES_MAX: Final = 100

_HOST: Final = re.compile(r"(?=.{1,253}\Z)[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?")
_PORT_DIGITS_MAX: Final = 5
_PORT_MAX: Final = 65_535


class Address(NamedTuple):
    """A host, by name or number, and a TCP port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_bootstrap(text: str, *, default_port: int = DEFAULT_PORT) -> tuple[Address, ...]:
    """The addresses in `host[:port],…`, in their order, each once.

    Args:
        text: what somebody wrote.
        default_port: the port of those that name none.

    Raises:
        InvalidRequest: the text is not of that form; the message says what is wrong.
    """
    items = [item.strip() for item in text.split(",")]
    addresses = tuple(dict.fromkeys(_parse_address(item, default_port) for item in items if item))
    if not addresses:
        raise InvalidRequest("no broker address; write host:port, as 127.0.0.1:9092")
    if len(addresses) > ADDRESSES_MAX:
        raise InvalidRequest(f"{len(addresses)} broker addresses are more than {ADDRESSES_MAX}")
    return addresses


def _parse_address(text: str, default_port: int) -> Address:
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        if not bracket or (rest and not rest.startswith(":")) or not _is_ipv6(host):
            raise InvalidRequest(f"broker address {text!r}: write IPv6 addresses as [::1]:9092")
        return Address(host, _parse_port(rest[1:], text) if rest else default_port)
    if text.count(":") > 1:
        raise InvalidRequest(f"broker address {text!r}: write IPv6 addresses as [::1]:9092")
    host, colon, port = text.partition(":")
    if "://" in text or not _HOST.fullmatch(host):
        raise InvalidRequest(f"broker address {text!r}: {host!r} is not a host name or address")
    return Address(host, _parse_port(port, text) if colon else default_port)


def _parse_port(port: str, text: str) -> int:
    if port.isascii() and port.isdecimal() and len(port) <= _PORT_DIGITS_MAX:
        number = int(port)
        if 1 <= number <= _PORT_MAX:
            return number
    raise InvalidRequest(f"broker address {text!r}: the port is a number from 1 to {_PORT_MAX}")


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True
