"""What every client of a cluster needs first: addresses resolved, a caller, a view that follows.

Owns the order in which these are opened and closed, and the rule that a client is used in the
process that made it, on the event loop that it was opened on. Producer, consumer and admin stand on
it.
"""

from __future__ import annotations

import asyncio
import os
import random
import weakref
from collections.abc import Callable, Sequence

import grpc

from ottla.client.background import BackgroundTasks
from ottla.client.bootstrap import resolve
from ottla.client.call_ends import status_tasks, until_ended
from ottla.client.calls import Caller, Patience
from ottla.client.channel_set import ChannelSet
from ottla.client.channels import ChannelOpener
from ottla.client.clock import Clock
from ottla.client.core.addresses import Address, parse_bootstrap
from ottla.client.core.metadata_view import MetadataView
from ottla.client.forks import check_grpc, made_before_fork, tell_when_forked
from ottla.client.metadata_follower import MetadataFollower
from ottla.client.tls import Tls
from ottla.protocol.errors import InvalidRequest


class ClusterAccess:
    """One client's way to its cluster; opened and closed once, on one event loop."""

    def __init__(
        self,
        bootstrap: str | Sequence[str],
        *,
        tls: Tls | None,
        patience: Patience,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        text = bootstrap if isinstance(bootstrap, str) else ",".join(bootstrap)
        self._addresses = parse_bootstrap(text)
        self._tls = tls
        self._patience = patience
        self._chance = chance
        self._clock = clock
        self._process_id = os.getpid()
        self._channels: ChannelSet | None = None
        self._channels_opened: weakref.WeakSet[grpc.aio.Channel] = weakref.WeakSet()
        self._is_closed = False
        tell_when_forked(self)
        self._loop: asyncio.AbstractEventLoop | None = None
        self.makes_topics = False
        """Whether brokers are to make missing topics, if they are set so; said before opening."""
        self.on_doubt: Callable[[], None] = lambda: None
        """Called when the client may not be usable any more: in a child process, or as its loop
        ends."""
        self.on_change: Callable[[], None] = lambda: None
        """Called when metadata may have changed."""
        self.on_defect: Callable[[Exception], None] = lambda _: None
        """Called when one of the client's own tasks fails unexpectedly."""
        self.tasks = BackgroundTasks(on_defect=self._defect, on_cancelled=self._doubt)
        self.view = MetadataView()

    @property
    def is_open(self) -> bool:
        """Between `open` and `close`."""
        return self._channels is not None

    async def open(self) -> None:
        """Resolve the addresses and begin to follow; no broker is called yet.

        Raises:
            Unreachable: no address resolves.
            InvalidRequest: it was opened before, or gRPC can't be used in this process.
            InvalidConfig: a file for TLS can't be used.
        """
        if self._channels is not None or self._is_closed:
            raise InvalidRequest("a client is opened once; make a new one")
        self.check_process()
        check_grpc()
        self._loop = asyncio.get_running_loop()
        addresses = await resolve(self._addresses, chance=self._chance)
        self._opener = await ChannelOpener.reading(self._tls, names=addresses)
        self._channels = ChannelSet(addresses, opener=self.open_channel)
        self.caller = Caller(
            self._channels, patience=self._patience, clock=self._clock, chance=self._chance
        )
        self.follower = MetadataFollower(
            self.caller,
            self._channels,
            view=self.view,
            clock=self._clock,
            on_change=self._changed,
            makes_topics=self.makes_topics,
        )
        await self.tasks.open()
        self.tasks.start(self.follower.run(), name="ottla-metadata-watch")
        self.tasks.start(self.follower.run_refreshes(), name="ottla-metadata-refresh")
        self.tasks.start(self._channels.close_idle(self._clock), name="ottla-idle-channels")

    async def close(self) -> None:
        """End all tasks and connections; again: nothing."""
        channels, self._channels = self._channels, None
        self._is_closed, self._loop = True, None
        if channels is not None:
            calls = status_tasks(self._channels_opened)
            try:
                await self.tasks.close()
            finally:
                await channels.__aexit__(None, None, None)
            await until_ended(calls)

    def open_channel(self, address: Address) -> grpc.aio.Channel:
        """A channel of its own to a broker, which the caller closes; only while open."""
        channel = self._opener.open(address)
        self._channels_opened.add(channel)
        return channel

    def _changed(self) -> None:
        self.on_change()

    def _defect(self, error: Exception) -> None:
        self.on_defect(error)

    def check_usable(self) -> None:
        """Returns if calls can be made. Raises InvalidRequest."""
        self.check_process()
        if self._channels is None:
            state = "closed" if self._is_closed else "not open yet; use `async with` or `open()`"
            raise InvalidRequest(f"the client is {state}")

    def check_process(self) -> None:
        """Returns in the process and on the loop the client belongs to. Raises InvalidRequest."""
        if os.getpid() != self._process_id:
            raise made_before_fork()
        if self._loop is not None and _running_loop() not in {self._loop, None}:
            raise InvalidRequest("the client belongs to the event loop that it was opened on")

    def forked(self) -> None:
        """This is a child process."""
        self.on_doubt()

    def _doubt(self) -> None:
        self.on_doubt()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
