"""Keeps a client's view of the cluster: asks when something is missing, then follows changes.

    topic() ──► GetMetadata, once a topic ──┐
                WatchMetadata, all followed ─┼─► MetadataView ─► on_change
    refresh() ─► GetMetadata, soon ─────────┘

Owns the calls and the stream. What a statement is worth is the view's to judge.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

import grpc

from ottla.api.metadata.v1 import metadata_pb2, metadata_pb2_grpc
from ottla.client.calls import Caller
from ottla.client.channel_set import ChannelSet
from ottla.client.clock import Clock
from ottla.client.core.addresses import Address
from ottla.client.core.error_copies import restated
from ottla.client.core.metadata_view import MetadataView, TopicView
from ottla.client.failures import stream_error
from ottla.client.rpc_errors import TransportFailed, readable
from ottla.protocol.errors import InvalidRequest, OttlaError, UnknownTopicOrPartition
from ottla.protocol.ids import check_topic_name

FOLLOWED_MAX: Final = 1_000
SILENCE_MS: Final = 45_000
_REFRESH_INTERVAL_MS: Final = 100
_REFRESH_TIMEOUT_SECONDS: Final = 5.0
_REOPEN_WAIT_MS: Final = 500


class MetadataFollower:
    """Belongs to one client; `run` and `run_refreshes` are tasks of that client."""

    def __init__(
        self,
        caller: Caller,
        channels: ChannelSet,
        *,
        view: MetadataView,
        clock: Clock,
        on_change: Callable[[], None],
        makes_topics: bool = False,
    ) -> None:
        self._caller = caller
        self._channels = channels
        self._view = view
        self._clock = clock
        self._on_change = on_change
        self._makes_topics = makes_topics
        self._followed: dict[str, None] = {}
        self._asked: dict[str, None] = {}
        self._lookups: dict[str, asyncio.Future[OttlaError | None]] = {}
        """Topics that are asked for right now; done, with what went wrong, once they are not."""
        self._followed_more = asyncio.Event()
        self._refresh_due = asyncio.Event()
        self._watching: asyncio.Timeout | None = None

    @property
    def view(self) -> MetadataView:
        """What is known."""
        return self._view

    async def topic(self, name: str) -> TopicView:
        """The topic, asked for if it is not known, and followed from here on.

        Raises:
            InvalidTopic: no topic can have that name.
            InvalidRequest: the client follows as many topics as it can.
            UnknownTopicOrPartition: brokers don't know it, for as long as the patience lasts.
            OttlaError: no broker could be asked.
        """
        while True:
            known = self._view.topic(name)
            if known is not None and name in self._followed:
                return known
            looking = self._lookups.get(name)
            if looking is None:
                return await self._look_up(name)
            # Somebody asks already, and what is found is for all; who gave up leaves it to another.
            failure = await asyncio.shield(looking)
            if failure is not None:
                raise restated(failure)

    async def _look_up(self, name: str) -> TopicView:
        check_topic_name(name)
        self._make_place(name)
        looking = self._lookups[name] = asyncio.get_running_loop().create_future()
        failure: OttlaError | None = None
        try:
            known = await self._caller.call(
                lambda channel, left: self._ask_one(channel, name, left)
            )
        except OttlaError as failed:
            failure = failed
            raise
        finally:
            del self._lookups[name]
            looking.set_result(failure)
        self._followed[name] = None
        self._followed_more.set()
        if self._watching is not None and not self._watching.expired():
            self._watching.reschedule(asyncio.get_running_loop().time())
        return known

    def _make_place(self, name: str) -> None:
        """One more topic can be followed; those that are gone make room. Raises InvalidRequest."""
        followed = self._followed
        if name in followed or len(followed) < FOLLOWED_MAX:
            return
        for gone in [each for each in followed if self._view.topic(each) is None]:
            del followed[gone]
        if len(followed) >= FOLLOWED_MAX:
            raise InvalidRequest(f"one client follows at most {FOLLOWED_MAX} topics")

    async def _ask_one(self, channel: grpc.aio.Channel, name: str, left: float) -> TopicView:
        await self._ask(channel, [name], left, makes_topics=self._makes_topics)
        known, error = self._view.topic(name), self._view.error(name)
        if known is None:
            raise error or UnknownTopicOrPartition(
                f"there is no topic {name}", metadata={"topic": name}
            )
        return known

    async def _ask(
        self,
        channel: grpc.aio.Channel,
        names: Sequence[str],
        left: float,
        *,
        makes_topics: bool = False,
    ) -> None:
        stub = metadata_pb2_grpc.MetadataServiceStub(channel)
        token = ""
        while True:
            request = metadata_pb2.GetMetadataRequest(
                topics=names, page_token=token, create_missing_topics=makes_topics
            )
            response = readable(await stub.GetMetadata(request, timeout=left))
            self._view.take_brokers(response.brokers)
            self._view.take_topics(response.topics)
            token = response.next_page_token
            if not token:
                break
        self._on_change()

    def refresh(self, topic: str) -> None:
        """Ask about a topic again, soon."""
        self._asked[topic] = None
        self._refresh_due.set()

    async def run_refreshes(self) -> None:
        """Ask what `refresh` was told, not more often than the interval."""
        while True:
            await self._refresh_due.wait()
            self._refresh_due.clear()
            names, self._asked = [*self._asked][:FOLLOWED_MAX], {}
            try:
                with self._channels.calling() as (address, channel):
                    await self._ask(channel, names, _REFRESH_TIMEOUT_SECONDS)
            except (grpc.RpcError, OttlaError) as failed:
                self._call_failed(failed, address)
                self._asked = dict.fromkeys(names) | self._asked
                self._refresh_due.set()
            await self._clock.sleep_until(self._clock.monotonic_ms() + _REFRESH_INTERVAL_MS)

    def _call_failed(self, failed: Exception, address: Address) -> None:
        error = stream_error(failed) if isinstance(failed, grpc.RpcError) else failed
        if isinstance(error, TransportFailed):
            self._channels.failed(address)

    async def run(self) -> None:
        """Follow changes of all topics followed, through whatever breaks."""
        while True:
            await self._followed_more.wait()
            self._followed_more.clear()
            try:
                with self._channels.calling() as (address, channel):
                    async with asyncio.timeout(None) as self._watching:
                        await self._watch(channel)
            except TimeoutError:
                continue  # more topics are followed: begin anew with all of them
            except (grpc.RpcError, OttlaError) as failed:
                self._call_failed(failed, address)
            finally:
                self._watching = None
            self._followed_more.set()
            await self._clock.sleep_until(self._clock.monotonic_ms() + _REOPEN_WAIT_MS)

    async def _watch(self, channel: grpc.aio.Channel) -> None:
        stub = metadata_pb2_grpc.MetadataServiceStub(channel)
        call = stub.WatchMetadata(metadata_pb2.WatchMetadataRequest(topics=list(self._followed)))
        missing: set[str] | None = None
        try:
            while True:
                message = await self._next(call)
                if message is None:
                    return
                if message.snapshot_begin:
                    missing = set(self._followed)
                missing = self._take(message, missing)
        finally:
            call.cancel()

    async def _next(
        self,
        call: grpc.aio.UnaryStreamCall[
            metadata_pb2.WatchMetadataRequest, metadata_pb2.WatchMetadataResponse
        ],
    ) -> metadata_pb2.WatchMetadataResponse | None:
        deadline = asyncio.get_running_loop().time() + SILENCE_MS / 1_000
        try:
            async with asyncio.timeout_at(deadline) as silence:
                message = await call.read()
        except TimeoutError:
            if not silence.expired():
                raise
            raise TransportFailed("the broker fell silent on WatchMetadata") from None
        return message if isinstance(message, metadata_pb2.WatchMetadataResponse) else None

    def _take(
        self, message: metadata_pb2.WatchMetadataResponse, missing: set[str] | None
    ) -> set[str] | None:
        self._view.take_brokers(message.brokers, removed=message.removed_broker_ids)
        self._view.take_topics(message.topics, removed=message.removed_topic_ids)
        if missing is not None:
            missing.difference_update(info.name for info in message.topics)
            if message.snapshot_complete:
                self._view.forget_topics(missing)
                missing = None
        if not message.heartbeat:
            self._on_change()
        return missing
