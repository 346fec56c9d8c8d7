"""The way to a controller: which address, which channel.

Owns the addresses known (those configured and those the metadata names), the one tried now, and
their channels. A call that fails turns the link to the next address; NOT_CONTROLLER names the
right one, and so does metadata of a term that began since. A broker has one link to the active
controller, for its session and for what it passes on, and one to whichever controller it follows.
Does not own what is called: the session, the watch and the admin forwarder do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

import grpc

from ottla.api.cluster.v1.cluster_pb2 import SECURITY_PLAINTEXT, Endpoint
from ottla.protocol.errors import (
    MetadataStoreUnavailable,
    NotController,
    OttlaError,
    StatusCode,
)
from ottla_broker.metadata.cluster_table import ClusterTable
from ottla_runtime.rpc_errors import TransportFailed

Address = tuple[str, int]
OpenChannel = Callable[[Endpoint], grpc.aio.Channel]

CONNECT_SECONDS_MAX = 1.0

_Answer = TypeVar("_Answer")
_PORT_MAX = 65_535


class ControllerLink:
    """The channel to the controller believed to be active; used on the loop's thread."""

    def __init__(
        self,
        configured: Sequence[Endpoint],
        *,
        table: ClusterTable,
        open_channel: OpenChannel,
        first: int = 0,
    ) -> None:
        """Begins with the address at `first`, counted around, so that brokers spread."""
        self._configured = {(each.host, each.port): each for each in configured}
        self._table = table
        self._open_channel = open_channel
        self._channels: dict[Address, grpc.aio.Channel] = {}
        self._address: Address = list(self._configured)[first % len(self._configured)]
        self._turned = (0, 0)
        self.news = asyncio.Event()
        """Set, and another one put here, when the metadata shows that another controller leads."""
        self._calls: dict[Address, asyncio.Event] = {}
        """Where calls are under way; set when the metadata shows that another one leads."""

    @property
    def address(self) -> Address:
        """Host and port tried now; hand it to `failed` with the outcome."""
        return self._address

    def channel(self) -> grpc.aio.Channel:
        """The channel to `address`."""
        channel = self._channels.get(self._address)
        if channel is None:
            endpoint = self._known().get(self._address) or _plaintext(self._address)
            channel = self._channels[self._address] = self._open_channel(endpoint)
        return channel

    async def connected(self, *, timeout_seconds: float) -> grpc.aio.Channel:
        """The channel to `address` once it has a connection: on one without, nothing is sent.

        Where the link turns meanwhile, it is the channel to where it points then.

        Raises:
            MetadataStoreUnavailable: it has none; the link turns to the next address.
        """
        address, channel = self._address, self.channel()
        try:
            async with asyncio.timeout(min(timeout_seconds, CONNECT_SECONDS_MAX)):
                state = channel.get_state(try_to_connect=True)
                while state is not grpc.ChannelConnectivity.READY:
                    if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                        raise TimeoutError
                    await channel.wait_for_state_change(state)
                    state = channel.get_state(try_to_connect=True)
        except TimeoutError:
            error = MetadataStoreUnavailable("no controller can be reached at the moment")
            self.failed(address, error)
            raise error from None
        if address != self._address:
            return await self.connected(timeout_seconds=timeout_seconds)
        return channel

    async def while_it_leads(self, call: Awaitable[_Answer]) -> _Answer:
        """The answer to a call, given up when the metadata shows that another controller leads.

        One that hangs or was cut off may never answer, and connections to it stay as they are.

        Raises:
            RpcError: the call failed.
            TransportFailed: it was given up.
        """
        over = self._calls.setdefault(self._address, asyncio.Event())
        async with asyncio.TaskGroup() as group:
            calling = group.create_task(_outcome(call), name="controller-call")
            waiting = group.create_task(over.wait(), name="controller-term")
            calling.add_done_callback(lambda _: waiting.cancel())
            waiting.add_done_callback(lambda _: calling.cancel())
        if calling.cancelled():
            message = "the controller that was asked leads no more"
            raise TransportFailed(message, status=StatusCode.UNAVAILABLE)
        outcome = calling.result()
        if isinstance(outcome, grpc.RpcError):
            raise outcome
        return outcome

    def turn_to_active(self) -> bool:
        """The metadata may name another active controller; True if the link turns to it.

        Each term turns the link once: what fails afterwards is known better by who called.
        """
        active = self._table.active_controller()
        if active is None or not active.endpoints:
            return False
        term = (self._table.version.generation, active.epoch)
        if term <= self._turned:
            return False
        self._turned = term
        news, self.news = self.news, asyncio.Event()
        news.set()
        address = (active.endpoints[0].host, active.endpoints[0].port)
        # Not only where the link pointed: a heartbeat may have turned it before the metadata came.
        for called in [each for each in self._calls if each != address]:
            self._calls.pop(called).set()
        before, self._address = self._address, address
        return before != address

    def failed(self, address: Address, error: OttlaError) -> None:
        """A call to `address` failed: go where the error says, or else to the next address.

        Nothing happens if the link has turned elsewhere meanwhile.
        """
        if address != self._address:
            return
        if isinstance(error, NotController):
            owner = _owner(error)
            if owner is not None:
                self._address = owner
                return
        known = sorted(self._known())
        later = [each for each in known if each > address]
        self._address = (later or known)[0]

    def _known(self) -> dict[Address, Endpoint]:
        """Every controller heard of: the configured ones and those in the metadata."""
        known = dict(self._configured)
        for controller in self._table.controllers.values():
            for endpoint in controller.endpoints[:1]:
                known.setdefault((endpoint.host, endpoint.port), endpoint.message())
        return known

    async def close(self) -> None:
        """Close every channel."""
        channels, self._channels = self._channels, {}
        for channel in channels.values():
            await channel.close()


async def _outcome(call: Awaitable[_Answer]) -> _Answer | grpc.RpcError:
    """What a call comes to; its failure as a value, which ends no group."""
    try:
        return await call
    except grpc.RpcError as error:
        return error


def _plaintext(address: Address) -> Endpoint:
    host, port = address
    return Endpoint(listener="controller", host=host, port=port, security=SECURITY_PLAINTEXT)


def _owner(error: NotController) -> Address | None:
    host, port = error.metadata.get("owner_host", ""), error.metadata.get("owner_port", "")
    if not host or not port.isascii() or not port.isdecimal() or not 0 < int(port) <= _PORT_MAX:
        return None
    return host, int(port)
