"""A command's connection to the cluster.

Owns turning a `Connection` into what the client library takes, and giving a `Caller` for the life
of one command. Imports gRPC, so commands import this module when they run, not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator

import ottla
from ottla.client.bootstrap import parse_bootstrap, resolve
from ottla.client.calls import Caller, Patience
from ottla.client.channel_set import ChannelSet
from ottla.client.channels import ChannelOpener
from ottla.client.clock import SystemClock
from ottla.client.tls import Tls
from ottla.protocol.errors import InvalidConfig, InvalidRequest
from ottla_cli.connections.settings import Connection
from ottla_cli.failures import EXIT_UNAVAILABLE, CommandFailed, UsageFailed


def tls_of(connection: Connection) -> Tls | None:
    """What the connection's clients take as `tls`.

    Raises:
        UsageFailed: the address list cannot be read, or TLS settings contradict each other.
    """
    try:
        parse_bootstrap(connection.bootstrap)
    except InvalidRequest as error:
        raise UsageFailed(error.message) from None
    files = connection.tls
    if files is None:
        return None
    if (files.certificate is None) != (files.key is None):
        raise UsageFailed("--tls-cert and --tls-key go together: a certificate and its private key")
    try:
        return Tls(
            ca_file=files.ca,
            certificate_file=files.certificate,
            key_file=files.key,
            server_name=files.server_name,
        )
    except InvalidConfig as error:
        raise UsageFailed(error.message) from None


def admin_of(connection: Connection) -> ottla.Admin:
    """A client to operate the cluster with, not open yet. Raises UsageFailed."""
    timeout_ms = milliseconds(connection.timeout_seconds)
    return ottla.Admin(connection.bootstrap, timeout_ms=timeout_ms, tls=tls_of(connection))


def consumer_of(connection: Connection) -> ottla.Consumer[bytes, bytes]:
    """A client to read with, not open yet. Raises UsageFailed."""
    return ottla.Consumer(
        connection.bootstrap,
        tls=tls_of(connection),
        default_api_timeout_ms=milliseconds(connection.timeout_seconds),
        # If ever, to what is left: a partition may lose its oldest records while we read.
        auto_offset_reset="earliest",
    )


@contextlib.asynccontextmanager
async def answering(connection: Connection) -> AsyncIterator[None]:
    """Holds what is asked of brokers in the block to a call's time. Raises CommandFailed."""
    try:
        async with asyncio.timeout(connection.timeout_seconds):
            yield
    except TimeoutError:
        raise CommandFailed(
            f"no broker at {connection.bootstrap} answered within {connection.timeout_seconds:g} s",
            code=EXIT_UNAVAILABLE,
            hint="`ottla cluster describe` shows the state of brokers;"
            " --request-timeout allows more time",
        ) from None


def milliseconds(seconds: float) -> int:
    """At least one."""
    return max(1, int(seconds * 1_000))


@contextlib.asynccontextmanager
async def connected(connection: Connection) -> AsyncIterator[Caller]:
    """A caller for the cluster, which may be found unreachable at the first call.

    Raises:
        UsageFailed: the connection's settings cannot be read.
        OttlaError: no address resolves, or a file for TLS cannot be used.
    """
    tls = tls_of(connection)
    chance = random.Random()
    resolved = await resolve(parse_bootstrap(connection.bootstrap), chance=chance)
    opener = await ChannelOpener.reading(tls, names=resolved)
    patience = Patience(call_ms=milliseconds(connection.timeout_seconds))
    async with ChannelSet(resolved, opener=opener.open) as channels:
        yield Caller(channels, patience=patience, clock=SystemClock(), chance=chance)
