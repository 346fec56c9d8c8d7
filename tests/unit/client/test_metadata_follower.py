"""Looking topics up: once for all who ask, and whatever the watch is doing meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from kit.clock import ManualClock, settle
from ottla.api.metadata.v1 import metadata_pb2
from ottla.client import metadata_follower
from ottla.client.core.metadata_view import MetadataView, TopicView
from ottla.client.metadata_follower import MetadataFollower
from ottla.protocol.errors import InvalidRequest, OttlaError, UnknownTopicOrPartition


class ScriptedCaller:
    """Answers look-ups of the topic the test names, when it says so."""

    def __init__(self, view: MetadataView) -> None:
        self.call_count = 0
        self.topic = "flights"
        self.failure: OttlaError | None = None
        self.may_answer = asyncio.Event()
        self._view = view

    async def call(self, attempt: object) -> TopicView:
        self.call_count += 1
        await self.may_answer.wait()
        if self.failure is not None:
            raise self.failure
        topic_id = self.topic.encode().ljust(16)[:16]
        info = metadata_pb2.TopicInfo(name=self.topic, topic_id=topic_id, partition_count=1)
        self._view.take_topics([info])
        known = self._view.topic(self.topic)
        assert known is not None
        return known


class Following:
    def __init__(self) -> None:
        self.view = MetadataView()
        self.caller = ScriptedCaller(self.view)
        caller: Any = self.caller
        channels: Any = None  # only its tasks use them
        self.follower = MetadataFollower(
            caller, channels, view=self.view, clock=ManualClock(), on_change=lambda: None
        )

    async def asked_at_once(self, count: int) -> list[TopicView | BaseException | None]:
        """What so many who ask at the same time are told."""

        async def answer() -> None:
            await settle()
            self.caller.may_answer.set()

        asking = (self.follower.topic("flights") for _ in range(count))
        return (await asyncio.gather(*asking, answer(), return_exceptions=True))[:count]


async def test_however_many_ask_for_a_topic_at_once_brokers_are_asked_once() -> None:
    test = Following()
    found = await test.asked_at_once(100)
    assert found == [test.view.topic("flights")] * 100
    assert test.caller.call_count == 1


async def test_what_goes_wrong_is_told_to_all_who_asked_and_asked_anew_after() -> None:
    test = Following()
    test.caller.failure = UnknownTopicOrPartition("there is no topic flights")
    failures = await test.asked_at_once(3)
    assert [type(each) for each in failures] == [UnknownTopicOrPartition] * 3
    assert len(set(map(id, failures))) == 3  # each has a traceback of its own
    assert test.caller.call_count == 1
    test.caller.failure = None
    assert (await test.follower.topic("flights")).name == "flights"


async def test_who_gives_up_asking_leaves_it_to_another() -> None:
    test = Following()
    async with asyncio.TaskGroup() as group:
        first, second, third = (
            group.create_task(test.follower.topic("flights"), name="asking") for _ in range(3)
        )
        await settle()
        second.cancel()
        first.cancel()
        await settle()
        test.caller.may_answer.set()
    assert third.result().name == "flights"
    assert (first.cancelled(), second.cancelled(), test.caller.call_count) == (True, True, 2)


async def test_a_topic_found_while_the_watch_begins_anew_disturbs_nobody() -> None:
    test = Following()
    test.caller.may_answer.set()

    async def watch() -> str:
        try:
            async with asyncio.timeout(None) as test.follower._watching:
                await asyncio.Event().wait()
        except TimeoutError:
            return "anew"
        return "never"

    async with asyncio.TaskGroup() as group:
        watching = group.create_task(watch(), name="watching")
        await settle()
        assert test.follower._watching is not None
        test.follower._watching.reschedule(asyncio.get_running_loop().time())
        await asyncio.sleep(0)  # its time is over, and the watching task doesn't know yet
        assert (await test.follower.topic("flights")).name == "flights"
    assert watching.result() == "anew"


async def test_topics_that_are_gone_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metadata_follower, "FOLLOWED_MAX", 2)
    test = Following()
    test.caller.may_answer.set()
    for name in ("a", "b"):
        test.caller.topic = name
        await test.follower.topic(name)
    test.caller.topic = "c"
    with pytest.raises(InvalidRequest, match="at most 2 topics"):
        await test.follower.topic("c")
    test.view.forget_topics(["a"])
    assert (await test.follower.topic("c")).name == "c"
