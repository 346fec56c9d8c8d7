"""Where a client begins: what the broker addresses it was given resolve to.

Owns resolving every name to all of its addresses, in random order. Reading a list of addresses is
`core.addresses`', which address is used is `channel_set`'s business.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Sequence

from ottla.client.core.addresses import Address, parse_bootstrap
from ottla.client.rpc_errors import Unreachable

__all__ = ["Address", "parse_bootstrap", "resolve"]

_log = logging.getLogger(__name__)


async def resolve(addresses: Sequence[Address], *, chance: random.Random) -> dict[Address, str]:
    """Every numeric address of every name, in random order, each with the name it was found under.

    Names that don't resolve are left out while others do, with a warning: the name of a broker that
    is down may be gone for as long.

    Raises:
        Unreachable: none resolves.
    """
    loop = asyncio.get_running_loop()
    found: dict[Address, str] = {}
    failures: list[tuple[Address, str]] = []
    for address in addresses:
        try:
            answers = await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except OSError as error:
            failures.append((address, error.strerror or str(error)))
            continue
        for _, _, _, _, numeric in answers:
            found.setdefault(Address(str(numeric[0]), address.port), address.host)
    if not found:
        reasons = "; ".join(f"{address.host}: {reason}" for address, reason in failures)
        raise Unreachable(f"no broker address can be resolved: {reasons}")
    for address, reason in failures:
        _log.warning("no address for broker %s, going on with the others: %s", address, reason)
    order = list(found)
    chance.shuffle(order)
    return {address: found[address] for address in order}
