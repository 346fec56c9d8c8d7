"""Opening channels: the one place where a client makes a gRPC channel.

Owns the client's side of the keepalive and size policy, and what TLS adds. gRPC connects and
reconnects each channel; its retries are off, since they resend to the same place. When channels
are opened and closed is their users' business.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import grpc

from ottla.client.core.addresses import Address
from ottla.client.forks import noted_channel
from ottla.client.tls import Tls, TlsMaterial, read_tls

_MESSAGE_BYTES_MAX: Final = 4 * 1024 * 1024
_OPTIONS: Final[tuple[tuple[str, Any], ...]] = (
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", _MESSAGE_BYTES_MAX),
    ("grpc.enable_retries", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    # Also how long one attempt to connect may take.
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    ("grpc.use_local_subchannel_pool", 1),
)


def open_channel(address: Address) -> grpc.aio.Channel:
    """A channel to one address, in the clear; connects at its first call."""
    return noted_channel(lambda: grpc.aio.insecure_channel(str(address), options=_OPTIONS))


class ChannelOpener:
    """Opens channels for one client, on its event loop."""

    def __init__(
        self, tls: Tls | None, material: TlsMaterial | None, *, names: Mapping[Address, str]
    ) -> None:
        self._server_name = None if tls is None else tls.server_name
        self._names = names
        self._credentials: grpc.ChannelCredentials | None = None
        if material is not None:
            self._credentials = grpc.ssl_channel_credentials(
                root_certificates=material.ca,
                private_key=material.key,
                certificate_chain=material.certificate,
            )

    @classmethod
    async def reading(cls, tls: Tls | None, *, names: Mapping[Address, str]) -> ChannelOpener:
        """Read the files that `tls` names.

        Args:
            tls: None is for connections in the clear.
            names: the host that each resolved address was found under, for certificates.

        Raises:
            InvalidConfig: a file can't be used.
        """
        material = None if tls is None else await asyncio.to_thread(read_tls, tls)
        return cls(tls, material, names=names)

    def open(self, address: Address) -> grpc.aio.Channel:
        """A channel to one address; connects at its first call."""
        if self._credentials is None:
            return open_channel(address)
        options = list(_OPTIONS)
        name = self._server_name or self._names.get(address, address.host)
        if name != address.host:
            options.append(("grpc.ssl_target_name_override", name))
        credentials = self._credentials
        return noted_channel(
            lambda: grpc.aio.secure_channel(str(address), credentials, options=options)
        )
